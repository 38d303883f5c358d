#!/usr/bin/env bash
# The long proof (guarantees.md §6): seeded chunks of at most an hour, each appended to docs/proof.md.
#   scripts/prove.sh [kills|services|histories|lossy|all] [--minutes N] [--seed S]
# The next chunk goes on at the seed after the last one of its kind, unless a seed is given.
set -uo pipefail
cd "$(dirname "$0")/.."

what=all minutes=60 seed=
usage() { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    kills|services|histories|lossy|all) what=$1 ;;
    --minutes) minutes=${2:?"--minutes wants a number"}; shift ;;
    --seed) seed=${2:?"--seed wants a number"}; shift ;;
    *) usage ;;
  esac
  shift
done
case "$minutes$seed" in *[!0-9]*) usage ;; esac
[ "$minutes" -ge 1 ] && [ "$minutes" -le 60 ] || { echo "error: a chunk is 1 to 60 minutes" >&2; exit 2; }

table=docs/proof.md
commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- crates tests migrations || echo '+changes')
log=$(mktemp) && trap 'rm -f "$log"' EXIT
failed=0

# The seed after the last chunk of this kind.
next_seed() { awk -F'|' -v kind=" $1 " '$4 == kind { gsub(/ /, "", $6); last = $6 } END { print last + 0 }' "$table"; }

# With the variables of scripts/services.sh and LOCKSTEP_TEST_STORE=postgres the histories run on both servers.
place= histories_at_once=500
[ "${LOCKSTEP_TEST_STORE:-}" != postgres ] || { place=' on PostgreSQL and RabbitMQ' histories_at_once=20; }

# record KIND HOW-MANY NEXT-SEED RESULT
record() { printf '| %s | %s | %s | %s | %s | %s |\n' "$(date -u +%F)" "$commit" "$1" "$2" "$3" "$4" >> "$table"; }

# run PACKAGE TARGET TEST: the output goes to the screen and the log.
run() {
  cargo test --locked --profile prove --package "$1" --test "$2" -- --exact "$3" --nocapture 2>&1 | tee "$log" | grep -E '^(LOCKSTEP_|test )'
  return "${PIPESTATUS[0]}"
}

# prove KIND STEP COMMAND: one step after the other until the time is over or one fails.
prove() {
  local kind=$1 step=$2 command=$3 from done=0 result=passed
  from=${seed:-$(next_seed "$kind")}
  local until=$((SECONDS + share))
  while [ "$done" -eq 0 ] || [ "$SECONDS" -lt "$until" ]; do
    if ! "$command" "$((from + done))" "$step"; then
      result="FAILED: $(grep -oE 'LOCKSTEP_HISTORY_SEED=[0-9]+' "$log" | sort -u | head -5 | tr '\n' ' ')in seeds $((from + done)) to $((from + done + step - 1))"
      failed=1
    fi
    done=$((done + step))
    [ "$failed" -eq 0 ] || break
  done
  record "$kind" "$done" "$((from + done))" "$result"
}

histories() { LOCKSTEP_HISTORY_FROM=$1 LOCKSTEP_HISTORIES=$2 run lockstep-tests it history::histories_0_to_49; }
kills() { LOCKSTEP_PROVE_SEED=$1 LOCKSTEP_PROVE_KILLS=$2 run lockstep-cli kill g_01_killed_at_random_nothing_is_lost_and_nothing_is_done_twice; }
# Without PostgreSQL and RabbitMQ on the machine it fails instead of being skipped.
services() {
  LOCKSTEP_TEST_SERVICES=1 LOCKSTEP_PROVE_SEED=$1 LOCKSTEP_PROVE_KILLS=$2 \
    run lockstep-cli kill services::services_g_01_everything_is_killed_in_turn_and_nothing_is_lost
}
lossy() {
  LOCKSTEP_LOSSY_SEED=$1 LOCKSTEP_LOSSY_CHANGES=2000 run lockstep-tests it lossy::a_lossy_tenant_is_right_within_t_missed_and_never_wrong &&
    LOCKSTEP_LOSSY_SEED=$1 LOCKSTEP_LOSSY_CHANGES=2000 run lockstep-tests it lossy::a_silent_tenant_is_right_within_t_missed_by_delta_alone
}

share=$((minutes * 60))
[ "$what" = all ] && share=$((share / 4))
case "$what" in
  histories) prove "histories$place" "$histories_at_once" histories ;;
  kills) prove kills 50 kills ;;
  services) prove services 20 services ;;
  lossy) prove lossy 1 lossy ;;
  all) prove "histories$place" "$histories_at_once" histories; prove kills 50 kills; prove services 20 services; prove lossy 1 lossy ;;
esac
exit "$failed"
