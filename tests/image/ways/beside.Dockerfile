ARG ALEMBIC_JOB=alembic-job
FROM ${ALEMBIC_JOB} AS job

FROM python:3.13-slim-trixie AS wheels
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libpq-dev python3-dev
COPY requirements.txt ./
RUN pip wheel --no-cache-dir --no-binary psycopg2 --wheel-dir /wheels -r requirements.txt

FROM python:3.13-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends libpq5 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels /wheels/*.whl

# the job beside it, in an environment of its own, and the client programs for backups
COPY --from=job /opt/alembic-job /opt/alembic-job
COPY --from=job /usr/lib/postgresql /usr/lib/postgresql
COPY --from=job /etc/ld.so.conf.d/alembic-job.conf /etc/ld.so.conf.d/
RUN ldconfig

COPY . .
USER 10001:0
