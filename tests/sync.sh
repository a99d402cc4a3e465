#!/usr/bin/env bash
# A database that is followed into a local folder and into every real server that the environment names (tests/services/services.sh
# start prints the variables): commits while it is followed, kill -9, restore, the next run, a prune beside it, the end. What is
# restored is compared with a full backup of the same database. Says what it skips.
#
#   tests/sync.sh PROGRAM
set -euo pipefail
program=$(readlink -f "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
sync=
trap '[ -z "$sync" ] || kill -9 "$sync" 2> /dev/null || true; rm -rf "$work"' EXIT
export PACKSTONE_PASSWORD=servers PACKSTONE_CACHE_DIR=$work/cache LC_ALL=C
ran=() skipped=()

say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# Commits so many times; prints the t of the last.
commits() {
  python3 "$here/datahike/writer.py" "$store" --truth "$work/truth" --datoms 2000 --purge-every 7 --commits "$1" --seed $RANDOM > "$work/written"
  grep -o '"max_tx": [0-9]*' "$work/written" | grep -o '[0-9]*$'
}

# Waits until the run has printed this.
until_said() {
  local n=0
  until grep -q "$1" "$work/said"; do
    n=$((n + 1))
    [ $n -lt 600 ] && kill -0 "$sync" || fail "$name: sync never says $1: $(tail -n 3 "$work/said" "$work/problems")"
    sleep 0.1
  done
}

# Starts a run in the background.
start() {
  "$program" -r "$repository" "${options[@]}" --json sync "datahike:$store" --label db > "$work/said" 2> "$work/problems" &
  sync=$!
  until_said '"following"'
}

# The newest state of a label, as sorted lines.
dump() { stone dump latest --label "$1" | sort > "$work/dumped-$1"; }

same() {
  stone backup "datahike:$store" --full --label "whole" > "$work/backed-up"
  dump whole
  dump db
  [ -s "$work/dumped-db" ] || fail "$name: $1: nothing is restored"
  cmp "$work/dumped-db" "$work/dumped-whole" || fail "$name: $1: what is restored differs"
}

# Follows a database into a repository at $2; the rest are options of the program.
follow() {
  name=$1 repository=$2 store=$work/store-$1
  shift 2
  options=("$@")
  local began=$SECONDS t
  stone() { "$program" -r "$repository" "${options[@]}" -q "$@"; }
  stone init ${weak:+--allow-weak}
  commits 3 > "$work/t"
  start
  for _ in 1 2 3 4; do
    t=$(commits 2)
    until_said "\"t\":$t[,}]"
  done
  kill -9 "$sync"
  wait "$sync" 2> "$work/killed" || true
  same "after kill -9"
  t=$(commits 2)
  start
  grep -q '"recovered"' "$work/said" || fail "$name: what the killed run left behind is in no snapshot"
  for n in 1 2 3; do
    t=$(commits 1)
    until_said "\"t\":$t[,}]"
    # Where nobody can be fenced a prune waits for the run to end, and says so.
    if [ -z "${weak:-}" ]; then
      stone forget --keep-last 1 > "$work/forgotten"
      stone prune --max-unused 0 > "$work/pruned"
    elif stone prune > "$work/pruned" 2>&1; then
      fail "$name: a prune does not wait"
    fi
    same "followed, prune $n"
  done
  kill -TERM "$sync"
  wait "$sync" || fail "$name: told to stop it ends with $?: $(tail -n 3 "$work/problems")"
  sync=
  stone forget --label db --keep-last 1 > "$work/forgotten"
  stone prune --max-unused 0 > "$work/pruned"
  stone check --read-data > "$work/checked"
  same "in the end"
  say "$name: ok, $((SECONDS - began)) s"
  ran+=("$name")
}

# Whether the server is there: its name, and the variable that would name it.
there() {
  if [ -n "${!2:-}" ]; then return 0; fi
  say "$1: skipped, $2 is not set"
  skipped+=("$1")
  return 1
}

prefix=sync-$$-$(date +%s)
follow local "$work/repository"
if there SeaweedFS SVC_S3_ENDPOINT; then
  export AWS_ACCESS_KEY_ID=$SVC_S3_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SVC_S3_SECRET_ACCESS_KEY
  follow SeaweedFS "s3://$SVC_S3_BUCKET/$prefix" -o "endpoint=$SVC_S3_ENDPOINT"
fi
if there WebDAV SVC_WEBDAV_ENDPOINT; then
  export WEBDAV_USERNAME=$SVC_WEBDAV_USERNAME WEBDAV_PASSWORD=$SVC_WEBDAV_PASSWORD
  weak=yes follow WebDAV "webdav://${SVC_WEBDAV_ENDPOINT#*//}/$prefix" -o "endpoint=$SVC_WEBDAV_ENDPOINT"
fi
say "ran on ${ran[*]:-nothing}; skipped ${skipped[*]:-nothing}"
