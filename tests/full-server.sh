#!/usr/bin/env bash
# A repository on a real server whose disk runs full (Apache's WebDAV on a small tmpfs answers 507): exit 16, what was
# acknowledged stays, and after room is made the same command finishes; with --wait-on-full it waits instead. Before that,
# first backups, whose uploads race for the folders of a new repository (Apache answers 403 to the one that loses).
#   full-server.sh PACKSTONE [PORT]
set -euo pipefail
program=$1
port=${2:-18090}
apache=$(command -v apache2 || echo /usr/sbin/apache2)
[ -x "$apache" ] || { echo "skipped: no Apache"; exit 0; }
work=$(mktemp -d)
mkdir "$work/disk" "$work/run"
if ! mount -t tmpfs -o size=40m tmpfs "$work/disk" 2>/dev/null; then
  echo "skipped: no right to mount a small disk"
  rm -rf "$work"
  exit 0
fi
stop() {
  [ ! -f "$work/run/pid" ] || kill "$(cat "$work/run/pid")" 2>/dev/null || true
  sleep 1
  umount "$work/disk"
  rm -rf "$work"
}
trap stop EXIT
mkdir "$work/disk/dav"
chmod 777 "$work/disk/dav" "$work/run"
chmod 755 "$work"
modules=$(dirname "$(find /usr/lib -name mod_dav_fs.so | head -1)")
{
  echo "ServerRoot $work"
  echo "ServerName 127.0.0.1"
  echo "Listen 127.0.0.1:$port"
  echo "PidFile $work/run/pid"
  echo "ErrorLog $work/run/errors"
  for module in mpm_event authz_core dav dav_fs; do echo "LoadModule ${module}_module $modules/mod_$module.so"; done
  if [ "$(id -u)" = 0 ]; then echo "User www-data"; echo "Group www-data"; fi
  echo "DocumentRoot $work/disk/dav"
  echo "DavLockDB $work/run/locks"
  echo "<Location />"
  echo "  Dav On"
  echo "  Require all granted"
  echo "</Location>"
} >"$work/apache.conf"
"$apache" -f "$work/apache.conf"
for _ in $(seq 50); do (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break || sleep 0.1; done

head -c 32 /dev/urandom >"$work/key"
run() {
  "$program" -q -r "webdav://127.0.0.1:$port/${place:-r}" -o "endpoint=http://127.0.0.1:$port" --key-file "$work/key" \
    --cache-dir "$work/cache" "$@"
}
mkdir "$work/small" "$work/large"
head -c 2000000 /dev/urandom >"$work/small/file"
for n in $(seq 50); do head -c 1000000 /dev/urandom >"$work/large/$n"; done
for n in $(seq 12); do
  place=new run init --allow-weak
  place=new run --no-cache backup "$work/small" >"$work/log" || { echo "first backup $n failed"; exit 1; }
  rm -rf "$work/disk/dav/new"
done
run init --allow-weak
run backup "$work/small" --label small
code=0
run backup "$work/large" --label large 2>"$work/error" || code=$?
cat "$work/error"
[ "$code" = 16 ] || { echo "a full server gave exit $code"; exit 1; }
run verify latest --label small
run check --read-data
mount -o remount,size=128m "$work/disk"
run backup "$work/large" --label large
mkdir "$work/out"
run restore "latest:$work/large" --label large --to "$work/out"
diff -r "$work/large" "$work/out"
run check --read-data

mount -o remount,size=70m "$work/disk"
for n in $(seq 50); do head -c 1000000 /dev/urandom >"$work/large/more-$n"; done
run backup "$work/large" --label large --wait-on-full=2s &
waiting=$!
sleep 6
kill -0 "$waiting" || { echo "did not wait on a full server"; exit 1; }
mount -o remount,size=200m "$work/disk"
wait "$waiting"
run check --read-data
echo "full server: exit 16, nothing lost, the same command finished after space was made, and --wait-on-full waited for it"
