# A stand-in for postgres:MAJOR-trixie of a major that a distribution carries; built as the real image is, from
# packages, so its programs have the real ones' libraries.
ARG SUITE
FROM alembic-job-stand-in/distribution:${SUITE}
ARG MAJOR
RUN groupadd -r postgres --gid=999 \
 && useradd -r -g postgres --uid=999 --home-dir=/var/lib/postgresql --shell=/bin/bash postgres \
 && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql \
 && install -d -o postgres -g postgres -m 3777 /var/run/postgresql \
 && apt-get update \
 && apt-get install -y --no-install-recommends postgresql-common \
 && sed -ri 's/#(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf \
 && apt-get install -y --no-install-recommends postgresql-${MAJOR} \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PG_MAJOR=${MAJOR} PATH=$PATH:/usr/lib/postgresql/${MAJOR}/bin LANG=C.UTF-8
ENV PGDATA=/var/lib/postgresql/${MAJOR}/docker
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
