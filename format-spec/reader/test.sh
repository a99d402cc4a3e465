#!/bin/sh
# Backs up every fixture of datoms and a directory tree with the program, restores with the second reader, and compares.
# Usage: test.sh PROGRAM, from anywhere; needs python3 with venv. Python packages go to target/reader-venv.
set -eu

program=$(realpath "${1:?usage: test.sh PROGRAM}")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
fixtures=$root/tests/fixtures
venv=$root/target/reader-venv
work=$(mktemp -d)
sync=
trap '[ -z "$sync" ] || kill -9 "$sync"; rm -rf "$work"' EXIT
export LC_ALL=C PACKSTONE_CACHE_DIR="$work/cache"
unset PACKSTONE_REPOSITORY PACKSTONE_REPOSITORY_FILE PACKSTONE_PASSWORD PACKSTONE_PASSWORD_FILE \
    PACKSTONE_PASSWORD_COMMAND PACKSTONE_KEY_FILE PACKSTONE_KEY_HINT

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
lines=$(cat "$here"/*.py | wc -l)
[ "$lines" -lt 800 ] || { echo "the reader has $lines lines; it is to stay under 800" >&2; exit 1; }

failed=0
reader() { "$venv/bin/python" "$here/packstone_reader.py" "$@"; }

# same NAME EXPECTED ACTUAL: compares the lines of two files in any order.
same() {
    [ -s "$2" ] || { echo "FAILED $1: nothing to compare with"; failed=1; return; }
    sort "$2" > "$work/expected"
    sort "$3" > "$work/actual"
    if cmp -s "$work/expected" "$work/actual"; then
        echo "ok $1: $(wc -l < "$3") datoms"
    else
        echo "FAILED $1:"
        diff "$work/expected" "$work/actual" | cut -c 1-200 | head -n 10
        failed=1
    fi
}

# latest LABEL: the id of the newest snapshot with a label.
latest() { reader -r "$work/repository" --key-file "$work/key" list | awk -v l="$1" '$4 == l { id = $1 } END { print id }'; }

# both NAME: the reader's history with and without the index, and its current view, against the program's.
both() {
    id=$(latest "$1")
    "$program" -r "$work/repository" --key-file "$work/key" -q dump "$id" > "$work/history"
    "$program" -r "$work/repository" --key-file "$work/key" -q dump "$id" --current > "$work/current"
    reader -r "$work/repository" --key-file "$work/key" restore "$id" > "$work/restored"
    same "$1" "$work/history" "$work/restored"
    reader -r "$work/repository" --key-file "$work/key" --no-index restore "$id" > "$work/restored"
    same "$1, without index" "$work/history" "$work/restored"
    reader -r "$work/repository" --key-file "$work/key" restore "$id" --current > "$work/restored-current"
    same "$1, current view" "$work/current" "$work/restored-current"
}

# backup LABEL SOURCE [OPTION...]
backup() {
    label=$1
    source=$2
    shift 2
    "$program" -r "$work/repository" --key-file "$work/key" -q backup "datoms:$source" --label "$label" "$@" > "$work/said"
}

reader --check-vectors "$root/format-spec/vectors"
echo "ok vectors"

head -c 64 /dev/urandom > "$work/key"
"$program" -r "$work/repository" --key-file "$work/key" -q init

for fixture in "$fixtures"/*/datoms-history.edn "$fixtures"/*/export-db.cbor "$fixtures"/*/dump-history-* \
    "$fixtures"/*/manifest.edn "$fixtures"/datacamp/a-small-history/*; do
    [ -e "$fixture" ] || continue
    [ "${fixture##*/}" = manifest.edn ] && fixture=${fixture%/*}
    label=$(echo "${fixture#"$fixtures"/}" | tr / :)
    backup "$label" "$fixture"
    both "$label"
    case $fixture in *.edn) same "$label, against the file" "$fixture" "$work/restored" ;; esac
done

# Long values in one chunk and in many, most kinds of columns, and a second backup that reuses nodes of the first.
awk 'BEGIN {
    for (i = 0; i < 30000; i++) {
        printf "[%d :item/name \"thing %d\" %d true]\n", i % 900, i * 7919 % 65537, 1000 + int(i / 9)
        printf "[%d :item/count %d %d %s]\n", i % 800, i * i % 10007 - 5000, 1000 + int(i / 9), i % 13 ? "true" : "false"
        printf "[%d :item/price %d.%02dM %d true]\n", i % 700, i % 97, i % 100, 1000 + int(i / 9)
    }
    for (i = 1; i <= 20; i++) { s = ""; for (j = 0; j < i * 40; j++) s = s sprintf("%d/%d long text é ", i, j * j); print "[" i " :item/text \"" s "\" 9000 true]" }
    printf "[1 :item/huge \""; for (i = 0; i < 400000; i++) printf "%d-%d ", i, i * 7919 % 10007; print "\" 9001 true]"
}' | sort -u > "$work/generated.edn"
sed 's/^\[5 :item\/count /[5 :item\/total /' "$work/generated.edn" > "$work/changed.edn"
for file in generated changed; do
    backup generated "$work/$file.edn"
    both generated
    same "generated, against $file.edn" "$work/$file.edn" "$work/restored"
done

# Exceptions: a current view that is not the fold of the history.
history=$fixtures/a-small-history/datoms-history.edn
sed -e 5d -e 's/ 536870913 true\]$/ 536870912 true]/' "$fixtures/a-small-history/datoms-current.edn" > "$work/view.edn"
backup exceptions "$history" --current-view "datoms:$work/view.edn"
both exceptions
same "exceptions, against the file" "$work/view.edn" "$work/restored-current"

# A directory tree: content in the entry, in one chunk, in several, in a tree of extents; holes; every kind of path that needs
# no privilege; names of any bytes; times before 1970.
tree=$work/tree
mkdir -p "$tree/folder/deep/deeper" "$tree/folder.d" "$tree/empty" "$tree/many"
: > "$tree/nothing"
printf 'hello' > "$tree/short"
head -c 128 /dev/urandom > "$tree/128"
head -c 129 /dev/urandom > "$tree/129"
head -c 3000000 /dev/urandom > "$tree/folder/deep/some chunks"
head -c 40000000 /dev/urandom > "$tree/folder/deep/deeper/many chunks"
truncate -s 9000000 "$tree/hole"
cp "$tree/hole" "$tree/holes"
head -c 100000 /dev/urandom | dd of="$tree/holes" bs=4096 seek=500 conv=notrunc status=none
ln -s ../nowhere "$tree/folder/link"
ln -s "$(printf 'bytes \377')" "$tree/$(printf 'not \377 UTF-8 \303')"
ln "$tree/129" "$tree/folder/129 too"
mkfifo "$tree/fifo"
i=0
while [ $i -lt 2000 ]; do echo "file number $i" > "$tree/many/file $i"; i=$((i + 1)); done
chmod 4711 "$tree/short"
chmod 1777 "$tree/folder.d"
chmod 710 "$tree/folder/deep/deeper"
touch -d '1960-02-03 04:05:06.789 UTC' "$tree/folder/deep"
touch -h -d '2001-02-03 04:05:06.789012345 UTC' "$tree/folder/link" "$tree/short" "$tree/empty"
# files NAME: the newest snapshot of directory trees, listed and restored by the reader, against the tree.
files() {
    # Everything but the size that a file system gives to directories.
    about_files() { find "$1" -printf '%P\t%y\t%m\t%s\t%T@\t%l\n' | awk -F '\t' -v OFS='\t' '$2 == "d" { $4 = "" } 1' | sort; }
    out=$work/out-$1
    reader -r "$work/repository" --key-file "$work/key" restore "$(latest trees)" --to "$out"
    about_files "$tree" > "$work/expected"
    about_files "$out/$tree" > "$work/actual"
    if cmp "$work/expected" "$work/actual" && diff -r --no-dereference -x fifo "$tree" "$out/$tree"; then
        echo "ok tree, $1: $(wc -l < "$work/expected") paths"
    else
        echo "FAILED tree, $1"
        failed=1
    fi
    [ "$(stat -c %i "$out/$tree/129")" = "$(stat -c %i "$out/$tree/folder/129 too")" ] || {
        echo "FAILED tree, $1: a file with two names became two"
        failed=1
    }
    count=$(reader -r "$work/repository" --key-file "$work/key" ls "$(latest trees)" | grep -ac " $tree\($\|/\)") || true
    [ "$count" -eq "$(wc -l < "$work/expected")" ] || { echo "FAILED tree, $1: $count paths are listed"; failed=1; }
}
"$program" -r "$work/repository" --key-file "$work/key" -q backup "$tree" --label trees > "$work/said"
files first
echo more >> "$tree/short"
rm "$tree/many/file 1000"
printf 'x' | dd of="$tree/folder/deep/deeper/many chunks" bs=1 seek=20000000 conv=notrunc status=none
"$program" -r "$work/repository" --key-file "$work/key" -q backup "$tree" --label trees > "$work/said"
files changed

# Forgotten snapshots and condemned packs.
"$program" -r "$work/repository" --key-file "$work/key" -q forget "$(latest dump-b)" > "$work/said"
mkdir "$work/before"
cp -r "$work/repository/packs" "$work/repository/index" "$work/before"
"$program" -r "$work/repository" --key-file "$work/key" -q prune --max-unused 0% > "$work/said"
[ -n "$(ls "$work/repository/gc")" ] || { echo "FAILED: nothing was condemned"; failed=1; }
# What comes back after it was condemned must not count.
cp -r "$work/before/packs" "$work/before/index" "$work/repository"
[ -z "$(latest dump-b)" ] || { echo "FAILED: a forgotten snapshot is listed"; failed=1; }
both generated
both exceptions

# A chain: what `sync` made durable before it was killed and no snapshot holds; first as it is, then with its base forgotten and
# what that reached condemned.
writer() { "$venv/bin/python" "$root/tests/datahike/writer.py" "$work/store" --truth "$work/truth" --purge-every 3 "$@" > "$work/written"; }
until_said() { # KIND COUNT
    tries=0
    until [ "$(grep -c "\"message_type\":\"$1\"" "$work/synced")" -ge "$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] && kill -0 "$sync" || { echo "FAILED: sync says nothing of $1"; cat "$work/synced"; exit 1; }
        sleep 0.1
    done
}
writer --datoms 3000 --commits 3
"$program" -r "$work/repository" --key-file "$work/key" --json sync "datahike:$work/store" --label chain > "$work/synced" &
sync=$!
until_said following 1
base=$(latest chain)
for n in 1 2 3 4 5; do
    writer --commits 1 --seed $((n + 1))
    until_said durable $n
done
"$program" -r "$work/repository" --key-file "$work/key" -q forget "$base" > "$work/said"
"$program" -r "$work/repository" --key-file "$work/key" -q prune --max-unused 0% > "$work/said"
kill -9 $sync
wait $sync 2> "$work/said" || true
sync=
[ "$(latest chain)" != "$base" ] || { echo "FAILED: the chain is not listed"; failed=1; }
both chain
[ "$(wc -l < "$work/restored")" -gt 3000 ] || { echo "FAILED: the chain holds too little"; failed=1; }
# Folded: the very same as a snapshot.
cp "$work/restored" "$work/unfolded"
"$program" -r "$work/repository" --key-file "$work/key" -q prune > "$work/said"
[ -z "$(find "$work/repository/sync" -type f)" ] || { echo "FAILED: the chain is still there"; failed=1; }
both chain
same "chain, as a snapshot" "$work/unfolded" "$work/restored"

# A password instead of a key file.
PACKSTONE_PASSWORD='käse und brot' "$program" -r "$work/locked" -q init
PACKSTONE_PASSWORD='käse und brot' "$program" -r "$work/locked" -q backup "datoms:$history" --label locked > "$work/said"
echo 'käse und brot' > "$work/password"
reader -r "$work/locked" --password-file "$work/password" restore > "$work/restored"
same "password file" "$history" "$work/restored"
reader -r "$work/locked" --password 'käse und brot' restore > "$work/restored"
same "password" "$history" "$work/restored"
if reader -r "$work/locked" --password wrong list 2> "$work/refusal"; then
    echo "FAILED: a wrong password opens the repository"
    failed=1
fi

# Damage: a bit of each kind of object that a restore reads.
for folder in config keys packs snapshots; do
    rm -rf "$work/damaged"
    cp -r "$work/locked" "$work/damaged"
    file=$(find "$work/damaged/$folder" -type f -size +0 | sort | tail -n 1)
    "$venv/bin/python" -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(60); b = f.read(1)[0]; f.seek(60); f.write(bytes([b ^ 1]))' "$file"
    if reader -r "$work/damaged" --password-file "$work/password" restore > "$work/restored" 2> "$work/refusal"; then
        echo "FAILED: damage in $folder goes unnoticed"
        failed=1
    else
        echo "ok damage in $folder: $(cat "$work/refusal")"
    fi
done
exit "$failed"
