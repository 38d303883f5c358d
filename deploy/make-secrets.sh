#!/usr/bin/env bash
# Makes the secrets of docker-compose.yml in deploy/secrets, once: an existing one is never replaced.
set -euo pipefail
umask 077
cd "$(dirname "$0")/secrets"
# The folder is closed to others. The files in it are not: a container's user, who is nobody on this machine, reads them.
chmod 700 .

random_word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# make NAME: what stands on the standard input, unless it is there already.
make() {
  if [ -e "$1" ]; then
    cat >/dev/null
    echo "kept  deploy/secrets/$1"
  else
    cat >"$1.new" && chmod 644 "$1.new" && mv "$1.new" "$1"
    echo "made  deploy/secrets/$1"
  fi
}

random_word | make postgres-owner-password
random_word | make postgres-application-password
random_word | make rabbitmq-password
owner=$(cat postgres-owner-password) application=$(cat postgres-application-password) broker=$(cat rabbitmq-password)

make rabbitmq.conf <<RABBITMQ
default_user = lockstep
default_pass = $broker
RABBITMQ
make lockstep.toml <<SETTINGS
store_url = "postgres://lockstep_application:$application@postgres:5432/lockstep"
queue_url = "amqp://lockstep:$broker@rabbitmq:5672/%2f"
SETTINGS
make migrate.toml <<SETTINGS
store_url = "postgres://lockstep_application:$application@postgres:5432/lockstep"
migrate_url = "postgres://lockstep:$owner@postgres:5432/lockstep"
queue_url = "amqp://lockstep:$broker@rabbitmq:5672/%2f"
SETTINGS
