#!/usr/bin/env python3
"""Full backups and increments of a Datahike store: bytes read and written, CPU seconds, peak memory.

    datahike.py PACKSTONE STORE WRITER [--work FOLDER] [--changes 1,100,10000]

STORE is copied. WRITER is a command that commits to a store: `{store}` stands for its folder, `{count}` for how many
operations the transaction has at most. The key is a key file, so that no password is stretched.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(command, env):
    """Runs a command; its JSON lines, and what it took."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{err}")
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    took = {
        "cpu_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
        "wall_ms": round((time.monotonic() - began) * 1000),
        "rss_mib": round(usage.ru_maxrss / 1024, 1),
    }
    return lines, took


def folder_bytes(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packstone")
    parser.add_argument("store")
    parser.add_argument("writer", nargs="?", help="command with {store} and {count}")
    parser.add_argument("--work", default=None)
    parser.add_argument("--changes", default="1,100,10000")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=args.work))
    store = work / "store"
    shutil.copytree(args.store, store, copy_function=shutil.copy2)
    key = work / "key"
    key.write_bytes(os.urandom(32))
    env = {**os.environ, "PACKSTONE_REPOSITORY": str(work / "repository"), "PACKSTONE_CACHE_DIR": str(work / "cache")}
    program = [args.packstone, "--key-file", str(key), "--json"]
    subprocess.run([*program, "init"], env=env, check=True, stdout=subprocess.DEVNULL)

    def backup(name, *options):
        before = folder_bytes(work / "repository")
        lines, took = measure([*program, "backup", f"datahike:{store}", *options], env)
        summary = next(line for line in lines if line.get("message_type") == "summary")
        size = folder_bytes(store)
        read = summary.get("total_bytes_processed", summary.get("bytes_read", 0))
        written = folder_bytes(work / "repository") - before
        print(f"{name:42} read {read:>12} ({read / size:7.2%} of {size}) written {written:>11} "
              f"cpu {took['cpu_ms']:>6} ms wall {took['wall_ms']:>6} ms rss {took['rss_mib']:>6} MiB", flush=True)
        return summary

    backup("full")
    backup("nothing changed")
    for count in args.changes.split(",") if args.writer else []:
        subprocess.run(args.writer.format(store=store, count=count), shell=True, check=True, stdout=subprocess.DEVNULL)
        backup(f"transaction of {count} operations at most")
    if args.writer:
        subprocess.run(args.writer.format(store=store, count=1), shell=True, check=True, stdout=subprocess.DEVNULL)
        backup("transaction of 1, everything read", "--full")
    shutil.rmtree(work)
    print(f"peak of children {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
