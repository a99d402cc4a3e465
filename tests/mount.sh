#!/bin/bash
# Mounts snapshots of a crafted tree and compares what is seen with what was backed up.
# Usage: tests/mount.sh PROGRAM, as root, where PROGRAM was built with `--features mount`. MIB sets the size of the big file.
set -euo pipefail

program=$(realpath "$1")
size_mib=${MIB:-1024}
limit_kib=$((64 * 1024))
folder=$(mktemp -d)
mounted=
finish() {
    cd /
    if [ -n "$mounted" ]; then
        fusermount3 -u -z "$folder/mnt" || true
        wait "$mounted" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT
export PACKSTONE_REPOSITORY=$folder/repository PACKSTONE_CACHE_DIR=$folder/cache PACKSTONE_KEY_FILE=$folder/key
head -c 64 /dev/urandom > "$folder/key"

tree=$folder/tree
mkdir -p "$tree/deep/er" "$tree/many" "$tree/empty" "$folder/mnt"
printf 'hello' > "$tree/inline"
head -c 300000 /dev/urandom > "$tree/deep/random"
ln "$tree/deep/random" "$tree/deep/er/linked"
ln -s deep/random "$tree/symlink"
ln -s /nowhere "$tree/dangling"
mkfifo "$tree/fifo"
mknod "$tree/null" c 1 3
truncate -s 50M "$tree/sparse"
printf 'end' >> "$tree/sparse"
touch -d '1969-12-31 12:00:00.25 UTC' "$tree/inline"
chown 1234:4321 "$tree/deep/random"
chmod 4750 "$tree/deep/random"
printf 'odd' > "$tree/$(printf 'n\xff\nl')"
setfattr -n user.note -v "$(head -c 200 /dev/zero | tr '\0' a)" "$tree/inline" 2>/dev/null || echo 'no xattrs here'
setfattr -n user.long -v "$(head -c 2000 /dev/zero | tr '\0' b)" "$tree/inline" 2>/dev/null || true
(cd "$tree/many" && seq 1 20000 | xargs touch)

"$program" init --quiet
"$program" backup --quiet --host machine --tag day,first "$tree"
printf 'more' > "$tree/added"
"$program" backup --quiet --host machine --tag day "$tree"

"$program" mount "$folder/mnt" > "$folder/log" 2>&1 &
mounted=$!
for _ in $(seq 300); do
    mountpoint -q "$folder/mnt" && break
    kill -0 "$mounted" || { cat "$folder/log"; exit 1; }
    sleep 0.1
done

cd "$folder/mnt"
test "$(ls)" = "$(printf 'hosts\nids\nsnapshots\ntags')"
test "$(ls tags/first | wc -l)" = 2
test "$(ls hosts/machine | wc -l)" = 3
test "$(ls ids | wc -l)" = 3
seen=$PWD/snapshots/latest$tree
diff -r --no-dereference --exclude=fifo --exclude=null "$tree" "$seen"
difference=$(rsync -aHAXn --checksum --delete --itemize-changes "$tree/" "$seen/")
test -z "$difference" || { echo "rsync: $difference"; exit 1; }
difference=$(rsync -aHAXn --checksum --delete --itemize-changes "$seen/" "$tree/")
test -z "$difference" || { echo "rsync, other way: $difference"; exit 1; }
test ! -e "tags/first/latest$tree/added"
test "$(cat "$seen/added")" = more
test "$(stat -c '%a %u:%g %h' "$seen/deep/random")" = '4750 1234:4321 2'
test "$(stat -c %i "$seen/deep/random")" = "$(stat -c %i "$seen/deep/er/linked")"
test "$(stat -c %i "$seen/deep/random")" != "$(stat -c %i "$seen/inline")"
test "$(ls -U "$seen/many" | wc -l)" = 20000
test "$(ls "$seen/many" | sort -n | head -3 | tr '\n' ' ')" = '1 2 3 '
test "$(readlink "$seen/dangling")" = /nowhere
if touch "$seen/inline" 2>/dev/null || echo x 2>/dev/null > "$seen/new"; then echo 'it can be written to'; exit 1; fi
if cat "$seen/missing" 2>/dev/null; then exit 1; fi
if test -e ids/ffffffff; then exit 1; fi
tail -c 3 "$seen/sparse" | grep -q end
id=$(readlink ids/latest)
inode=$(stat -c %i "ids/$id$tree/deep")
cd "$folder"
kill -INT "$mounted"
wait "$mounted"
mounted=
test -z "$(ls "$folder/mnt")"

# A big file, read from beginning to end and at random, in bounded memory.
rm -rf "$tree/many"
openssl enc -aes-128-ctr -nosalt -pass pass:x -in /dev/zero 2>/dev/null | head -c "${size_mib}M" > "$tree/big" || true
test "$(stat -c %s "$tree/big")" = $((size_mib << 20))
"$program" backup --quiet --host machine "$tree"
"$program" mount --owner-root --time-template 'day-%Y' "$folder/mnt" > "$folder/log" 2>&1 &
mounted=$!
for _ in $(seq 300); do mountpoint -q "$folder/mnt" && break; sleep 0.1; done
seen=$folder/mnt/snapshots/latest$tree
test "$(stat -c %i "$folder/mnt/ids/$id$tree/deep")" = "$inode"
test "$(stat -c %u "$seen/deep/random")" = 0
most=0
watch_memory() {
    while kill -0 "$mounted" 2>/dev/null; do
        now=$(awk '/RssAnon/ { print $2 }' "/proc/$mounted/status" 2>/dev/null || echo 0)
        if [ "${now:-0}" -gt "$most" ]; then most=$now; echo "$most" > "$folder/most"; fi
        sleep 0.02
    done
}
watch_memory &
start=$(date +%s.%N)
cmp "$tree/big" "$seen/big"
end=$(date +%s.%N)
for offset in 900 13 511 7 1000 333; do
    offset=$((offset * size_mib / 1024))
    cmp <(dd if="$tree/big" bs=1M skip="$offset" count=2 status=none) <(dd if="$seen/big" bs=1M skip="$offset" count=2 status=none)
done
most=$(cat "$folder/most")
awk -v s="$start" -v e="$end" -v m="$size_mib" -v k="$most" \
    'BEGIN { printf "read %d MiB in %.1f s, at most %.1f MiB of anonymous memory\n", m, e - s, k / 1024 }'
fusermount3 -u "$folder/mnt"
wait "$mounted"
mounted=
if [ "$most" -gt "$limit_kib" ]; then echo "over the limit of $limit_kib KiB"; exit 1; fi
echo 'mount: ok'
