#!/bin/bash
# What the tests need of the real image's entrypoint: POSTGRES_PASSWORD(_FILE), _USER, _DB on an empty volume, with the
# temporary server that goes away again before the real one starts; everything runs as postgres.
set -euo pipefail

case "${1:-}" in -*) set -- postgres "$@" ;; esac

if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
  POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
fi

if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?Database is uninitialized and superuser password is not specified.}"
  initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  printf "\nlisten_addresses = '*'\nunix_socket_directories = '/var/run/postgresql'\n" >>"$PGDATA/postgresql.conf"
  pg_ctl -w start -o "-c listen_addresses=''"
  if [ "$database" != postgres ]; then
    psql --username="$user" --dbname=postgres --no-password -v ON_ERROR_STOP=1 -v name="$database" \
      <<<'CREATE DATABASE :"name";'
  fi
  pg_ctl -w -m fast stop
fi
exec "$@"
