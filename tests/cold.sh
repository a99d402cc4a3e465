#!/usr/bin/env bash
# Packs of content in an archive class: everything but their restore goes on as before, the restore plans, asks, exits 14 and
# resumes. Needs an S3 server (SVC_S3_* of tests/services) and the fault proxy, which plays the class.
#   cold.sh PACKSTONE FAULTPROXY
set -euo pipefail
program=$1 proxy=$2
[ -n "${SVC_S3_ENDPOINT:-}" ] || { echo "skipped: SVC_S3_ENDPOINT is not set"; exit 0; }
port=$((20000 + RANDOM % 10000))
work=$(mktemp -d)
"$proxy" --listen "$port" --target "${SVC_S3_ENDPOINT#http://}" --ctl $((port + 1)) &
pid=$!
export AWS_ACCESS_KEY_ID=$SVC_S3_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SVC_S3_SECRET_ACCESS_KEY AWS_REGION=$SVC_S3_REGION
export AWS_ENDPOINT_URL=http://127.0.0.1:$port PACKSTONE_PASSWORD=x
prefix=cold-$$-$RANDOM
repo=s3://$SVC_S3_BUCKET/$prefix
s3() { curl -s --aws-sigv4 "aws:amz:$SVC_S3_REGION:s3" --user "$SVC_S3_ACCESS_KEY_ID:$SVC_S3_SECRET_ACCESS_KEY" "$@"; }
clean() {
  kill $pid
  s3 "$SVC_S3_ENDPOINT/$SVC_S3_BUCKET?list-type=2&prefix=$prefix" | grep -o '<Key>[^<]*' | cut -c6- |
    while read -r key; do s3 -X DELETE "$SVC_S3_ENDPOINT/$SVC_S3_BUCKET/$key"; done
  rm -rf "$work"
}
trap clean EXIT
for _ in $(seq 50); do curl -sf "http://127.0.0.1:$((port + 1))/stats" >/dev/null && break; sleep 0.1; done
control() { curl -sf "http://127.0.0.1:$((port + 1))/$1"; }
count() { control stats | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | grep . || echo 0; }
run() { "$program" -q -r "$repo" --no-cache "$@"; }
cold() { run -o data-storage-class=GLACIER "$@"; }
fails() { # code, command
  local want=$1 code=0
  shift
  "$@" >"$work/out" 2>&1 || code=$?
  [ "$code" = "$want" ] || { cat "$work/out"; echo "exit $code, not $want: $*"; exit 1; }
}
# While things stay hot, no cold object may be asked for its content.
hot() {
  local before after
  before=$(count cold_get)
  "$@" >"$work/out" 2>&1 || { cat "$work/out"; echo "failed: $*"; exit 1; }
  after=$(count cold_get)
  [ "$before" = "$after" ] || { echo "read cold objects: $*"; exit 1; }
}
control "cold?ms=3000" >/dev/null
mkdir "$work/data"
for i in $(seq 40); do head -c 60000 /dev/urandom >"$work/data/f$i"; done
cold init
cold backup "$work/data"
[ "$(count cold_put)" -ge 1 ] || { echo "nothing was put into the cold class"; exit 1; }
hot run ls latest
hot run find f7
hot run snapshots
head -c 60000 /dev/urandom >"$work/data/f1"
hot cold backup "$work/data"
hot run diff latest~1 latest
# Structure is checked as far as it can be: no damage, and it says what could not be read.
run check >"$work/out"
grep -q "no damage" "$work/out"
[ "$(run check --json | python3 -c 'import json,sys; print(json.loads(sys.stdin.readlines()[-1])["packs_cold"] > 0)')" = True ]
# A differential backup finds its bases cold, and stores whole.
head -c 100 /dev/urandom >>"$work/data/f2"
cold backup "$work/data" --delta on
# Removing snapshots frees wholly dead packs and leaves those that would have to be read.
run forget --keep-last 1 >/dev/null
run prune --max-unused 0 >"$work/out"
run check >/dev/null
# Only the plan.
run restore latest --to "$work/to" --dry-run --thaw-tier standard >"$work/out"
grep -q "to be thawed" "$work/out" || { cat "$work/out"; exit 1; }
[ ! -e "$work/to" ] && [ "$(count restore)" = 0 ]
# The order; then not yet; then all of it.
fails 14 run restore latest --to "$work/to" --thaw-days 2
grep -q "asked for" "$work/out"
asked=$(count restore)
[ "$asked" -ge 1 ]
# Without any option about classes the first cold pack that is met leads to the same plan.
fails 14 run restore latest --to "$work/to"
[ "$(count restore)" = "$asked" ] || { echo "asked twice"; exit 1; }
sleep 3
run restore latest --to "$work/to" --verify
diff -r "$work/data" "$work/to$work/data"
echo "cold classes: asked for $asked packs, restored whole"
