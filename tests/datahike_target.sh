#!/bin/bash
# Backs up every store of the fixtures, restores it to a new one, and has that read by others.
# Usage: tests/datahike_target.sh PROGRAM [FIXTURES [READER]], where FIXTURES is the folder of the large fixtures (or
# PACKSTONE_FIXTURES names it) and READER the independent reader. Without them there are the stores of tests/fixtures, and
# tests/datahike/readback.py, which reads them all.
set -euo pipefail

program=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
fixtures=$(realpath -m "${2:-${PACKSTONE_FIXTURES:-$here/../../shared/fixtures}}")
reader=$(realpath -m "${3:-$here/../../shared/tools/datahike_reader}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PACKSTONE_REPOSITORY=$folder/repository PACKSTONE_CACHE_DIR=$folder/cache PACKSTONE_KEY_FILE=$folder/key
export PACKSTONE_DATAHIKE_KEY=s3cret
head -c 64 /dev/urandom > "$folder/key"
"$program" init --quiet

fail() { echo "FAILED: $*" >&2; exit 1; }

# A folder, and the archive that is unpacked there.
unpack() {
    mkdir -p "$folder/$1"
    zstd -dc --long=27 "$2.tar.zst" | tar x -C "$folder/$1"
}

# Store, name, and the database's own answers: current and history (maybe none).
check() {
    local store=$1 name=$2 current=$3 history=$4 copy=$folder/copy/$2
    mkdir -p "$folder/copy"
    "$program" backup "datahike:$store" --label "$name" --quiet
    local snapshot
    snapshot=$("$program" snapshots --label "$name" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[-1]["id"])')
    "$program" restore "$snapshot" --to "datahike:$copy" --quiet
    "$program" verify "datahike:$copy" --against "$snapshot" --quiet > /dev/null || fail "$name: not equal to its snapshot"
    # Six sound indices, and nothing that no head names.
    python3 "$here/datahike/readback.py" "$copy" > "$folder/readback" || { cat "$folder/readback"; fail "$name: readback"; }
    if [ -n "$current" ] && [ -d "$reader" ]; then
        # The independent reader finds the answers beside the store.
        cp "$current" "$copy.current.edn"
        if [ -n "$history" ]; then cp "$history" "$copy.history.edn"; fi
        (cd "$reader" && python3 walk2.py "$copy") > "$folder/walked" 2>> "$folder/warnings" || fail "$name: walk2"
        if grep -q DIFF "$folder/walked"; then cat "$folder/walked"; fail "$name: walk2"; fi
        cat "$folder/walked"
    fi
    checked=$((checked + 1))
    # What differs is told, and with code 1.
    local code=0
    "$program" verify "datahike:$copy" --against "$first" --quiet > "$folder/differs" || code=$?
    if [ "$snapshot" != "$first" ] && [ "$code" != 1 ]; then fail "$name: verify gave $code against another snapshot"; fi
    code=0
    "$program" restore "$snapshot" --to "datahike:$copy" --quiet 2> /dev/null || code=$?
    [ "$code" != 0 ] || fail "$name: a database was replaced"
    echo "$name: ok"
}

checked=0
for store in bf8 diffbuf crypto a attrrefs aes; do unpack stores "$here/fixtures/datahike/store-$store"; done
unpack stores "$here/fixtures/datahike/store1607"
unpack small "$here/fixtures/datahike/a-small-history"
[ -d "$reader" ] || echo "skipped: no independent reader at $reader"
printf '[1 :user/name "Ada" 536870913 true]\n' > "$folder/first.edn"
"$program" backup "datoms:$folder/first.edn" --label first --quiet
first=$("$program" snapshots --label first --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[-1]["id"])')

answered() {
    local place=$folder/$1/$2
    check "$place" "$2" "$place.current.edn" "$place.history.edn"
}
for store in bf8 diffbuf crypto; do answered stores "store-$store"; done
# The independent reader does not print all values of these as the answers have them, not even from the stores themselves.
for store in a attrrefs; do check "$folder/stores/store-$store" "store-$store" "" ""; done
check "$folder/stores/store-aes" store-aes "" ""
check "$folder/stores/store1607" store1607 "" ""
check "$folder/small/store" a-small-history "" ""
if [ -f "$fixtures/datahike-stores.tar.zst" ]; then
    unpack large "$fixtures/datahike-stores"
    answered large store-nograph
    # The answers of this one are older than the store.
    check "$folder/large/store-amp" store-amp "" ""
    for name in head-small-history/store e-attribute-refs/store c-200k/stores; do
        unpack "$name" "$fixtures/$name"
        check "$folder/$name/store" "${name%/*}" "" ""
    done
else
    echo "skipped: the large stores, as there are no fixtures at $fixtures"
fi

# States: as of an earlier transaction, only what is current, one branch.
"$program" restore latest --label store-a --to "datahike:$folder/past" --as-of 536870914 --quiet
"$program" restore latest --label store-a --to "datahike:$folder/now" --current --quiet
"$program" restore latest --label store-a --to "datoms:$folder/past.edn" --as-of 536870914 --quiet
"$program" backup "datahike:$folder/past" --label past --quiet
"$program" restore latest --label past --to "datoms:$folder/past-again.edn" --quiet
cmp "$folder/past.edn" "$folder/past-again.edn"
"$program" restore latest --label store-bf8 --branch staging --to "datahike:$folder/staging" --quiet
"$program" restore latest --label store-bf8 --branch staging --to "datoms:$folder/staging.edn" --quiet
"$program" backup "datahike:$folder/staging" --label staging --quiet
"$program" restore latest --label staging --to "datoms:$folder/staging-again.edn" --quiet
cmp "$folder/staging.edn" "$folder/staging-again.edn"
echo "states: ok; $checked stores"
