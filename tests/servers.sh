#!/usr/bin/env bash
# A repository's life on every real server that the environment names (tests/services/services.sh start prints the variables):
# init, two backups, check, forget, prune, restore, compare, doctor. Says what it skips.
#
#   tests/servers.sh PROGRAM
set -euo pipefail
program=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PACKSTONE_PASSWORD=servers PACKSTONE_CACHE_DIR=$work/cache
ran=() skipped=()

say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

make_tree() {
  mkdir -p "$work/tree/a/b"
  for n in 1 2 3; do head -c $((n * 700000)) /dev/urandom > "$work/tree/a/random-$n"; done
  seq 1 200000 > "$work/tree/a/b/numbers"
  ln -s ../random-1 "$work/tree/a/b/link"
  for n in $(seq 1 200); do printf 'file %s\n' "$n" > "$work/tree/a/b/small-$n"; done
}

# The life of a repository at $1; the rest are options of the program.
live() {
  local name=$1 repository=$2 start=$SECONDS
  shift 2
  stone() { "$program" -r "$repository" "${options[@]}" -q "$@"; }
  local options=("$@")
  local tree=$work/tree-$name
  cp -a "$work/tree" "$tree"
  if [ "${weak:-}" ]; then
    stone init 2> "$work/refused" && fail "$name: init takes a store that cannot create only what is absent"
    grep -q 'create only if absent' "$work/refused" || fail "$name: $(cat "$work/refused")"
    "$program" -r "$repository" "$@" -q init --allow-weak
  else
    stone init
  fi
  stone backup "$tree"
  rm "$tree/a/random-2"; seq 5 250000 > "$tree/a/b/numbers"; head -c 100000 /dev/urandom > "$tree/a/new"
  stone backup "$tree"
  stone check --read-data
  stone forget --keep-last 1
  stone prune --max-unused 0
  stone check --read-data
  stone restore latest --target "$work/out-$name"
  local restored
  restored=$(find "$work/out-$name" -name "tree-$name" -type d | head -n 1)
  diff -r --no-dereference "$tree" "${restored:-$work/out-$name}" || fail "$name: the restore differs"
  stone doctor --rounds 10 > "$work/doctor" || fail "$name: $(cat "$work/doctor")"
  [ "$("$program" -r "$repository" "${options[@]}" snapshots --json | grep -o '"short_id"' | wc -l)" = 1 ] || fail "$name: snapshots"
  rm -rf "$tree" "$work/out-$name"
  say "$name: ok, $((SECONDS - start)) s"
  ran+=("$name")
}

# Whether the server is there: its name, and the variable that would name it.
there() {
  if [ -n "${!2:-}" ]; then return 0; fi
  say "$1: skipped, $2 is not set"
  skipped+=("$1")
  return 1
}

prefix=servers-$$-$(date +%s)
make_tree
if there SeaweedFS SVC_S3_ENDPOINT; then
  AWS_ACCESS_KEY_ID=$SVC_S3_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SVC_S3_SECRET_ACCESS_KEY AWS_ENDPOINT_URL=$SVC_S3_ENDPOINT \
    live SeaweedFS "s3://$SVC_S3_BUCKET/$prefix"
fi
if there moto SVC_MOTO_ENDPOINT; then
  AWS_ACCESS_KEY_ID=$SVC_MOTO_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SVC_MOTO_SECRET_ACCESS_KEY \
    live moto "s3://$SVC_MOTO_BUCKET/$prefix" -o "endpoint=$SVC_MOTO_ENDPOINT"
fi
if there Azurite SVC_AZBLOB_ENDPOINT; then
  AZURE_STORAGE_ACCOUNT=$SVC_AZBLOB_ACCOUNT_NAME AZURE_STORAGE_KEY=$SVC_AZBLOB_ACCOUNT_KEY \
    live Azurite "azblob://$SVC_AZBLOB_CONTAINER/$prefix" -o "endpoint=$SVC_AZBLOB_ENDPOINT"
fi
if there gcsd SVC_GCS_ENDPOINT; then
  live gcsd "gcs://$SVC_GCS_BUCKET/$prefix" -o "endpoint=$SVC_GCS_ENDPOINT" -o skip-signature=true -o disable-vm-metadata=true \
    -o disable-config-load=true
fi
if there WebDAV SVC_WEBDAV_ENDPOINT; then
  weak=yes WEBDAV_USERNAME=$SVC_WEBDAV_USERNAME WEBDAV_PASSWORD=$SVC_WEBDAV_PASSWORD \
    live WebDAV "webdav://${SVC_WEBDAV_ENDPOINT#*//}/$prefix" -o "endpoint=$SVC_WEBDAV_ENDPOINT"
fi
if there OpenSSH SVC_SFTP_PLACE; then
  live OpenSSH "sftp://$SVC_SFTP_PLACE/$prefix" -o "user=$SVC_SFTP_USER" -o "key=$SVC_SFTP_KEY" -o known-hosts-strategy=accept
fi
if there s3s-fs SVC_S3S_ENDPOINT; then
  if AWS_ACCESS_KEY_ID=$SVC_S3S_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$SVC_S3S_SECRET_ACCESS_KEY \
    "$program" -r "s3://$SVC_S3S_BUCKET/$prefix" -o "endpoint=$SVC_S3S_ENDPOINT" -q init 2> "$work/refused"; then
    fail "s3s-fs: init takes a store that loses races"
  fi
  say "s3s-fs: refused, as it should be: $(head -n 1 "$work/refused")"
  ran+=(s3s-fs)
fi
say "ran on ${ran[*]:-nothing}; skipped ${skipped[*]:-nothing}"
