#!/usr/bin/env bash
# A streaming replica: copies the primary when there is nothing here yet, then follows it.
set -euo pipefail
export PGPASSFILE=/run/secrets/postgres_pgpass
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A copy that was broken off is no copy.
  rm -rf "${PGDATA:?}"/*
  pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --checkpoint=fast --create-slot --slot=replica_1 \
    --dbname "host=postgres user=replication passfile=$PGPASSFILE" ||
    pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --checkpoint=fast --slot=replica_1 \
      --dbname "host=postgres user=replication passfile=$PGPASSFILE"
  chmod 700 "$PGDATA"
fi
exec postgres -c config_file=/etc/postgresql/postgresql.conf
