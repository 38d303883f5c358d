#!/bin/sh
# Runs once, when the PostgreSQL image makes its data: the role that Lockstep works as. It owns nothing, so that the
# row-level security that the owner's migrations set up binds it.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set "password=$(cat /run/secrets/postgres-application-password)" <<'SQL'
CREATE ROLE lockstep_application LOGIN PASSWORD :'password';
SQL
