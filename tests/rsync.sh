#!/usr/bin/env bash
# Backs up a directory, restores it, and compares both with rsync, both ways: `tests/rsync.sh PROGRAM DIR`. Run as root for
# owners, devices and trusted attributes. Without DIR it makes a tree of oddities and compares that.
set -euo pipefail
program=$(realpath "${1:?usage: rsync.sh PROGRAM [DIR]}")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/packstone-rsync.XXXXXX")
trap 'rm -rf "$work"' EXIT
source=${2:-}
if [ -z "$source" ]; then
  source=$work/oddities
  python3 "$here/oddities.py" "$source"
fi
source=$(realpath "$source")
head -c 64 /dev/urandom >"$work/key"
export PACKSTONE_REPOSITORY=$work/repository PACKSTONE_KEY_FILE=$work/key PACKSTONE_CACHE_DIR=$work/cache
export PACKSTONE_PROGRESS_FPS=0

compare() {
  local a=$1 b=$2
  rsync -aHAXn --checksum --delete --itemize-changes "$a/" "$b/" >"$work/there"
  rsync -aHAXn --checksum --delete --itemize-changes "$b/" "$a/" >"$work/back"
  if [ -s "$work/there" ] || [ -s "$work/back" ]; then
    echo "$a and $b differ:" >&2
    head -n 40 "$work/there" "$work/back" >&2
    exit 1
  fi
}

"$program" -q init
"$program" -q backup "$source"
"$program" restore latest --to "$work/whole" --verify
compare "$source" "$work/whole$source"
"$program" restore "latest:$source" --to "$work/part"
compare "$source" "$work/part"

echo "in place, after changes"
python3 - "$work/part" <<'PYTHON'
import os, random, shutil, sys
chosen = random.Random(1)
for folder, folders, names in os.walk(sys.argv[1], topdown=False, followlinks=False):
    if len(os.fsencode(folder)) > 3500:
        continue
    for name in names:
        path = os.path.join(folder, name)
        if chosen.random() > 0.05 or os.path.islink(path) or not os.path.isfile(path):
            continue
        what = chosen.randrange(5)
        if what == 0:
            os.remove(path)
        elif what == 1:
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                file.write(b"changed")
        elif what == 2:
            os.truncate(path, os.path.getsize(path) // 2)
        elif what == 3:
            os.remove(path)
            os.mkdir(path)
            open(os.path.join(path, "in the way"), "w").close()
        else:
            os.remove(path)
            os.symlink("/etc", path)
    if chosen.random() < 0.05:
        open(os.path.join(folder, "not in the snapshot"), "w").close()
PYTHON
"$program" restore "latest:$source" --to "$work/part" --delete
# The target itself is the user's own.
touch -r "$source" "$work/part"
compare "$source" "$work/part"
"$program" restore "latest:$source" --to "$work/part" --delete --dry-run --overwrite if-changed >"$work/dry"
if grep -q '^[+M-] ' "$work/dry"; then
  echo "a dry run right after a restore finds something to do:" >&2
  head -n 20 "$work/dry" >&2
  exit 1
fi
echo "$source: the restored trees are the same"
