# The image of alembic-job: `docker build -t alembic-job .` makes the job with this repository's project in /app,
# `--target base` the job alone, `--target api` the sample application.
# Behind a proxy or with a package index of your own, give pip its settings without leaving them in the image:
#   docker build --secret id=pip.conf,src=pip.conf --secret id=ca.pem,src=ca.pem .
# where pip.conf may say `cert = /run/secrets/ca.pem`.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG PG_MAJOR=18

# The client programs' shared libraries, wherever that image keeps them.
FROM postgres:${PG_MAJOR}-trixie AS postgres
ARG PG_MAJOR
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir /libraries /programs \
 && cp /usr/lib/postgresql/${PG_MAJOR}/bin/{pg_dump,pg_restore,psql} /programs \
 && ldd /usr/lib/postgresql/${PG_MAJOR}/bin/{pg_dump,pg_restore,psql} \
    | awk '$3 ~ /^\// {print $3}' | sort -u | xargs cp --dereference --target-directory=/libraries

# Only the libraries that the base lacks: libc and libssl stay the base's own, and get its security updates.
FROM ${PYTHON_IMAGE} AS client
ARG PG_MAJOR
COPY --from=postgres /programs /usr/lib/postgresql/${PG_MAJOR}/bin
COPY --from=postgres /libraries /libraries
RUN mkdir "/usr/lib/postgresql/${PG_MAJOR}/lib" \
 && ldconfig -p >/known \
 && for library in /libraries/*; do \
      grep -q "[[:space:]]${library##*/} (" /known || mv "$library" "/usr/lib/postgresql/${PG_MAJOR}/lib/" || exit 1; \
    done

# A virtual environment with the locked dependencies and the product, compiled. Nothing is built from source but the
# product itself, whose build tools are pinned here; they stay in this stage.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
WORKDIR /build
RUN printf '%s\n' \
      'hatchling==1.33.0 --hash=sha256:415290b84f464d2884303fca8974d38e7b85579069fab02a15db0828fbb1446d' \
      'packaging==26.3 --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c' \
      'pathspec==1.1.1 --hash=sha256:a00ce642f577bf7f473932318056212bc4f8bfdf53128c78bbd5af0b9b20b189' \
      'pluggy==1.7.0 --hash=sha256:7dd7b0d8832ba3cb632c306926ded123429211b83641b35dc5c41ad2d34f9bec' \
      'tomlkit==0.15.2 --hash=sha256:05562412163a3037b94497385fb7f9204c637bc605af7a48199e41cf2272f437' \
      'trove-classifiers==2026.9.21.13 --hash=sha256:8b1ff4f9c191b1040b71c37f1e445ab99732911e3cd91de52838453a854d7a17' \
      >requirements-build.txt
COPY requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/alembic-job \
 && python3 -m venv --without-pip /opt/build \
 && python3 -m pip --python /opt/alembic-job/bin/python install --no-compile --require-hashes -r requirements.lock \
 && python3 -m pip --python /opt/build/bin/python install --no-compile --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/python -m hatchling build -t wheel -d /opt/alembic-job/wheel \
 && python3 -m pip --python /opt/alembic-job/bin/python install --no-compile --no-index --no-deps \
      /opt/alembic-job/wheel/*.whl \
 && ln -s alembic-job /opt/alembic-job/bin/db \
 && python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/alembic-job/lib
COPY entrypoint.py /opt/alembic-job/
COPY alembic.ini /app/
COPY alembic /app/alembic
COPY app /app/app
# checked: a file mounted over one of these must count
RUN python3 -m compileall -q --invalidation-mode checked-hash /app \
 && chmod -R a+rX /opt/alembic-job /app

# What the job and the sample application have in common.
FROM ${PYTHON_IMAGE} AS runtime
ARG PG_MAJOR
# the base has no compiled standard library, and a read-only file system cannot keep one
RUN python3 -m compileall -q -f --invalidation-mode unchecked-hash \
      -x '/(idlelib|tkinter|turtledemo|ensurepip|pydoc_data|test|site-packages|dist-packages)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && echo 'alembic-job:x:10001:0::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo "/usr/lib/postgresql/${PG_MAJOR}/lib" >/etc/ld.so.conf.d/alembic-job.conf
COPY --from=client /usr/lib/postgresql /usr/lib/postgresql
# PIP_PYTHON: `pip install` in a derived image reaches the job's virtual environment
ENV PATH=/opt/alembic-job/bin:/usr/lib/postgresql/${PG_MAJOR}/bin:$PATH \
    PIP_PYTHON=/opt/alembic-job/bin/python \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
RUN ldconfig && pg_dump --version && pg_restore --version && psql --version
WORKDIR /app

# The sample application, with its own packages in the same environment.
FROM build AS api-build
COPY app/requirements.txt requirements-dev.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    --mount=type=cache,target=/root/.cache/pip \
    grep -oE '^[A-Za-z0-9._-]+==[^ ;]+' requirements-dev.lock >constraints.txt \
 && python3 -m pip --python /opt/alembic-job/bin/python install --no-compile --constraint constraints.txt \
      -r requirements.txt \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/alembic-job/lib

FROM runtime AS api
COPY --from=api-build /opt/alembic-job /opt/alembic-job
COPY --from=build /app /app
USER 10001:0
EXPOSE 8000
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]

# The job without any project: for deriving and mounting.
FROM runtime AS base
COPY --from=build /opt/alembic-job /opt/alembic-job
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="alembic-job" \
      org.opencontainers.image.description="Runs any Alembic project's migrations at deploy time: wait, lock, back up, upgrade, verify" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:0
# Exec form: the job itself is process 1 and gets SIGTERM. The kernel drops a signal that process 1 has no handler for
# yet, so it is held back until Python is up. -P: nothing in the working directory shadows a library.
ENTRYPOINT ["/usr/bin/env", "--block-signal=TERM,INT", "/opt/alembic-job/bin/python", "-P", "/opt/alembic-job/entrypoint.py"]

# The job with this repository's project, last: this is what `docker build .` makes.
FROM base AS job
COPY --from=build /app /app
# an image that derives from this one brings a project of its own, which must not mix with ours
ONBUILD USER 0
ONBUILD RUN rm -rf /app/alembic.ini /app/alembic /app/app
ONBUILD USER 10001:0
