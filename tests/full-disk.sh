#!/usr/bin/env bash
# A repository on a small disk that runs full: exit 16, what was acknowledged stays, and after freeing it goes on.
#   full-disk.sh PACKSTONE
set -euo pipefail
program=$1
work=$(mktemp -d)
disk=$work/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=12m tmpfs "$disk" 2>/dev/null; then
  echo "skipped: no right to mount a small disk"
  rm -rf "$work"
  exit 0
fi
trap 'umount "$disk"; rm -rf "$work"' EXIT
head -c 32 /dev/urandom >"$work/key"
run() { "$program" -q -r "$disk/r" --key-file "$work/key" --cache-dir "$work/cache" "$@"; }
history() { # seed, transactions of 2,000 datoms with values that do not compress
  python3 - "$1" "$2" <<'P'
import random, sys
rng = random.Random(int(sys.argv[1]))
for t in range(1, int(sys.argv[2]) + 1):
    for e in range(2000):
        print('[%d :item/v "%064x" %d true]' % (e, rng.getrandbits(256), t))
P
}
history 1 40 >"$work/small.edn"
history 2 400 >"$work/large.edn"
run init
run backup "datoms:$work/small.edn" --label small
code=0
run backup "datoms:$work/large.edn" --label large 2>"$work/error" || code=$?
cat "$work/error"
[ "$code" = 16 ] || { echo "a full disk gave exit $code"; exit 1; }
run verify latest
run check --read-data
run restore latest --to "datoms:$work/out.edn"
cmp <(sort "$work/small.edn") <(sort "$work/out.edn")
# Freeing needs no space: first what the failed run left, then everything else.
run prune
run check --read-data
mount -o remount,size=64m "$disk"
run backup "datoms:$work/large.edn" --label large
run restore latest --label large --to "datoms:$work/out.edn" --overwrite
cmp <(sort "$work/large.edn") <(sort "$work/out.edn")
run check --read-data
echo "full disk: exit 16, nothing lost, and the same command finished after space was made"
