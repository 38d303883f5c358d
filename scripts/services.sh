#!/usr/bin/env bash
# Private PostgreSQL and RabbitMQ for tests and development: throw-away, on loopback and free ports.
#
#   eval "$(scripts/services.sh start)"     start both and set LOCKSTEP_TEST_POSTGRES_URL and LOCKSTEP_TEST_AMQP_URL
#   scripts/services.sh stop [FOLDER]       stop them and remove their folder (default: $LOCKSTEP_TEST_SERVICES_DIR)
#   scripts/services.sh run COMMAND...      start, run the command with the variables set, stop
#   scripts/services.sh install             only make sure that the programs are there
#
# An address that is already set is taken as it is. Otherwise docker compose, where an engine answers; otherwise the
# machine's programs as plain processes in a temporary folder; otherwise, as root on Debian, its packages are installed.
# Never systemd, never the servers of the machine itself.
set -euo pipefail
# Passwords and data are ours alone, whatever the temporary folder allows.
umask 077
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "services: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The newest PostgreSQL that Debian's packages installed, or the one on the PATH.
postgres_bin() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -1)
  if [ -x "$found/postgres" ]; then echo "$found"
  elif have postgres && have initdb; then dirname "$(command -v postgres)"
  else return 1; fi
}

# The scripts of RabbitMQ itself: Debian's wrapper in /usr/sbin insists on the machine's own user and folders.
rabbitmq_bin() {
  if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then echo /usr/lib/rabbitmq/bin
  elif have rabbitmq-server; then dirname "$(command -v rabbitmq-server)"
  else return 1; fi
}

epmd_program() {
  command -v epmd || ls /usr/lib/erlang/bin/epmd /usr/lib/erlang/erts-*/bin/epmd 2>/dev/null | head -1 | grep .
}

docker_answers() { have docker && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

# Installs Debian's packages without their starting a server: policy-rc.d answers "forbidden" meanwhile.
install_packages() {
  [ "$(id -u)" = 0 ] && have apt-get ||
    fail "$* missing; install them, or set LOCKSTEP_TEST_POSTGRES_URL and LOCKSTEP_TEST_AMQP_URL"
  local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf made_policy=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    made_policy=1
  fi
  if [ ! -e "$cluster" ]; then
    mkdir -p "$(dirname "$cluster")" && echo 'create_main_cluster = false' >"$cluster"
  fi
  say "installing $*"
  local outcome=0
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Dpkg::Options::=--force-confold "$@"; } >&2 || outcome=$?
  [ -z "$made_policy" ] || rm -f "$policy"
  return "$outcome"
}

# The packages whose programs are needed and not there: of both servers, or of those that have no address yet.
missing_packages() {
  { [ "${1:-}" != all ] && [ -n "${LOCKSTEP_TEST_POSTGRES_URL:-}" ]; } || postgres_bin >/dev/null || echo postgresql
  { [ "${1:-}" != all ] && [ -n "${LOCKSTEP_TEST_AMQP_URL:-}" ]; } || rabbitmq_bin >/dev/null || echo rabbitmq-server
}

need_programs() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  # Each line is a package of its own.
  install_packages $missing || fail "installing" $missing "failed; what apt-get said is above"
  missing=$(missing_packages "$@")
  [ -z "$missing" ] || fail "installed, but its programs are not where they are looked for:" $missing
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the kernel takes the ports of outgoing connections.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); answers "$port"; do :; done
  echo "$port"
}

random_word() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# wait_for PORT PID LOG: until the port answers; fails when the process ends first or two minutes are over. RabbitMQ's start takes
# some seconds of processor time, most of them before its first line, which it does not get at once on a machine that compiles.
wait_for() {
  local deadline=$((SECONDS + 120))
  until answers "$1"; do
    if ! kill -0 "$2" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      tail -20 "$3" >&2
      return 1
    fi
    sleep 0.1
  done
}

# detached NAME COMMAND...: a process of its own session whose id is kept in NAME.pid.
detached() {
  local name=$1
  shift
  setsid "$@" </dev/null >>"$dir/$name.log" 2>&1 &
  echo $! >"$dir/$name.pid"
}

start_postgres() {
  local bin as=() port password data=$dir/postgres
  bin=$(postgres_bin)
  password=$(random_word)
  mkdir "$data"
  echo "$password" >"$dir/postgres.password"
  if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    id postgres >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin postgres
    chown postgres "$data" "$dir/postgres.password"
    as=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups)
  fi
  # A plain password on loopback: SCRAM would cost every connection of an unoptimised test tens of milliseconds.
  (cd "$data" && "${as[@]}" "$bin/initdb" --pgdata "$data" --username lockstep --auth=password \
    --pwfile "$dir/postgres.password" --encoding UTF8 --locale C --no-sync --no-instructions) >"$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; return 1; }
  port=$(free_port)
  cd "$data"
  detached postgres "${as[@]}" "$bin/postgres" -D "$data" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=200
  wait_for "$port" "$(cat "$dir/postgres.pid")" "$dir/postgres.log" || return 1
  echo "postgres://lockstep:$password@127.0.0.1:$port/postgres" >"$dir/postgres.url"
}

start_rabbitmq() {
  local bin epmd port dist_port epmd_port password data=$dir/rabbitmq
  bin=$(rabbitmq_bin)
  epmd=$(epmd_program)
  password=$(random_word)
  mkdir "$data"
  port=$(free_port) dist_port=$(free_port) epmd_port=$(free_port)
  cat >"$data/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
default_user = lockstep
default_pass = $password
log.console = true
log.console.level = info
CONF
  echo '[].' >"$data/enabled_plugins"
  cat >"$data/environment" <<ENVIRONMENT
export HOME=$data ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port
export RABBITMQ_NODENAME=lockstep-$port@localhost RABBITMQ_DIST_PORT=$dist_port
export RABBITMQ_CONF_ENV_FILE=$data/none.conf RABBITMQ_CONFIG_FILE=$data/rabbitmq.conf
export RABBITMQ_ADVANCED_CONFIG_FILE=$data/advanced.config RABBITMQ_ENABLED_PLUGINS_FILE=$data/enabled_plugins
export RABBITMQ_MNESIA_BASE=$data/mnesia RABBITMQ_LOG_BASE=$data/log RABBITMQ_LOGS=-
export RABBITMQ_PID_FILE=$data/pid
# The last three: an idle broker lets the others have the cores it would spin on.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
ENVIRONMENT
  . "$data/environment"
  cd "$data"
  # A port mapper of our own, so that neither start nor stop touches the machine's.
  detached epmd "$epmd" -address 127.0.0.1 -port "$epmd_port"
  wait_for "$epmd_port" "$(cat "$dir/epmd.pid")" "$dir/epmd.log" || return 1
  # The flag means nothing to the broker: it is how stop knows the process again.
  detached rabbitmq "$bin/rabbitmq-server" -lockstep_services "$dir"
  wait_for "$port" "$(cat "$dir/rabbitmq.pid")" "$dir/rabbitmq.log" || return 1
  echo "amqp://lockstep:$password@127.0.0.1:$port/%2f" >"$dir/amqp.url"
}

compose() { docker compose --project-name "$(basename "$dir" | tr '[:upper:].' '[:lower:]-')" -f "$here/services.compose.yml" "$@"; }

start_containers() {
  LOCKSTEP_TEST_PASSWORD=$(random_word)
  export LOCKSTEP_TEST_PASSWORD
  echo "$LOCKSTEP_TEST_PASSWORD" >"$dir/compose.password"
  compose up --detach --wait --quiet-pull >&2 || return 1
  echo "postgres://lockstep:$LOCKSTEP_TEST_PASSWORD@$(compose port postgres 5432)/lockstep" >"$dir/postgres.url"
  echo "amqp://lockstep:$LOCKSTEP_TEST_PASSWORD@$(compose port rabbitmq 5672)/%2f" >"$dir/amqp.url"
}

start_processes() {
  need_programs
  local jobs=() job outcome=0
  [ -s "$dir/postgres.url" ] || { (start_postgres) & jobs+=($!); }
  [ -s "$dir/amqp.url" ] || { (start_rabbitmq) & jobs+=($!); }
  for job in "${jobs[@]}"; do wait "$job" || outcome=1; done
  return "$outcome"
}

# Interrupted while starting: first nothing more is started, then what runs is stopped.
give_up() {
  local half_done
  half_done=$(jobs -p)
  [ -z "$half_done" ] || { kill $half_done 2>/dev/null && wait $half_done; } || true
  exit 130
}

# Leaves the folder with postgres.url and amqp.url in $dir.
start() {
  trap give_up INT TERM
  trap 'stop "$dir"' EXIT
  dir=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-services.XXXXXXXX")
  # PostgreSQL's own user has to get through; what lies below is closed by itself.
  chmod 711 "$dir"
  touch "$dir/lockstep-services"
  [ -z "${LOCKSTEP_TEST_POSTGRES_URL:-}" ] || echo "$LOCKSTEP_TEST_POSTGRES_URL" >"$dir/postgres.url"
  [ -z "${LOCKSTEP_TEST_AMQP_URL:-}" ] || echo "$LOCKSTEP_TEST_AMQP_URL" >"$dir/amqp.url"
  if [ -s "$dir/postgres.url" ] && [ -s "$dir/amqp.url" ]; then
    say "taking the given addresses"
  elif [ ! -s "$dir/postgres.url" ] && [ ! -s "$dir/amqp.url" ] && docker_answers && start_containers; then
    say "PostgreSQL and RabbitMQ run in containers"
  elif ! start_processes; then
    fail "PostgreSQL or RabbitMQ did not start; what they said is above"
  else
    say "PostgreSQL and RabbitMQ are ready after $SECONDS s"
  fi
}

exports() {
  echo "export LOCKSTEP_TEST_POSTGRES_URL='$(cat "$dir/postgres.url")'"
  echo "export LOCKSTEP_TEST_AMQP_URL='$(cat "$dir/amqp.url")'"
  echo "export LOCKSTEP_TEST_SERVICES_DIR='$dir'"
}

# Kills what NAME.pid says if it is still the process that we started: a number may have been given to another since.
kill_ours() {
  local pid
  pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 0
  case "$(ps -ww -o args= -p "$pid" 2>/dev/null)" in *"$2"*) ;; *) return 0 ;; esac
  # The whole group: RabbitMQ's script stays as the parent of the broker.
  kill "-$3" -- "-$pid" 2>/dev/null || return 0
  local deadline=$((SECONDS + 10))
  while kill -0 -- "-$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
}

stop() {
  dir=${1:-}
  [ -n "$dir" ] || fail "which ones? There are: $(ls -d "${TMPDIR:-/tmp}"/lockstep-services.* 2>/dev/null | tr '\n' ' ')"
  [ -e "$dir/lockstep-services" ] || fail "$dir is not a folder of services.sh; nothing was stopped"
  if [ -e "$dir/compose.password" ]; then
    LOCKSTEP_TEST_PASSWORD=$(cat "$dir/compose.password") compose down --volumes --timeout 1 >&2 || true
  fi
  # Nothing in them is to be kept: PostgreSQL's immediate stop (which ends its children too), and a plain kill.
  kill_ours postgres "$dir" QUIT
  kill_ours rabbitmq "$dir" KILL
  kill_ours epmd "epmd -address 127.0.0.1 -port" KILL
  rm -rf "$dir"
}

case "${1:-}" in
  start)
    start
    trap - EXIT
    exports
    ;;
  stop) stop "${2:-${LOCKSTEP_TEST_SERVICES_DIR:-}}" ;;
  install) need_programs all ;;
  run)
    shift
    [ $# -gt 0 ] || fail "run what? scripts/services.sh run COMMAND..."
    start
    eval "$(exports)"
    "$@"
    ;;
  *) fail "usage: scripts/services.sh start | stop [FOLDER] | run COMMAND... | install" ;;
esac
