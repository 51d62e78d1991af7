#!/usr/bin/env bash
# Run once by the image's entry point, on the empty server: roles and databases. Their passwords are in the secret.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --file /run/secrets/postgres_roles.sql
