#!/usr/bin/env python3
"""A SQLite file backed up every day: what each day adds to the repository.

    sqlite.py PACKSTONE [--rows 400000] [--days 10] [--change-percent 1] [--insert-percent 0] [--text] [--restic] [--work DIR]

Makes a table of wide rows (400,000 rows are about 87 MB), changes that share of them by one integer each day (with
--text by a text as well), inserts some if asked to, and backs the file up after each. Restores the last day and compares
it with the file, and checks the repository with all data. With --restic the same files go to a restic repository too.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def text(rng, length):
    return hashlib.sha256(rng.randbytes(8)).hexdigest()[:length]


def row(rng, key):
    return (key, rng.randrange(1 << 40), text(rng, 40), " ".join(text(rng, 8) for _ in range(14)))


def create(path, rows, rng):
    with sqlite3.connect(path) as db:
        db.execute("create table item (id integer primary key, count integer, name text, body text)")
        db.executemany("insert into item values (?, ?, ?, ?)", (row(rng, key) for key in range(rows)))
        db.execute("create index item_name on item (name)")
    db.close()


def mutate(path, args, rng):
    with sqlite3.connect(path) as db:
        (rows,) = db.execute("select count(*) from item").fetchone()
        changed = rng.sample(range(rows), int(rows * args.change_percent / 100))
        db.executemany("update item set count = count + 1 where id = ?", ((key,) for key in changed))
        if args.text:
            db.executemany("update item set body = ? where id = ?", ((row(rng, key)[3], key) for key in changed))
        added = int(rows * args.insert_percent / 100)
        db.executemany("insert into item values (?, ?, ?, ?)", (row(rng, rows + n) for n in range(added)))
    db.close()


def size(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "tmp" not in p.relative_to(folder).parts)


def run(command, **env):
    started, before = time.monotonic(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - started, cpu, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packstone")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--change-percent", type=float, default=1)
    parser.add_argument("--insert-percent", type=float, default=0)
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--restic", action="store_true")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="sqlite-", dir=args.work))
    rng = random.Random(7)
    key, file = work / "key", work / "data" / "app.db"
    key.write_bytes(bytes(range(32)))
    file.parent.mkdir()
    ours = [args.packstone, "-r", work / "packstone", "--key-file", key, "--cache-dir", work / "cache"]
    theirs = ["restic", "-q", "-r", work / "restic", "--no-cache"]
    secret = {"RESTIC_PASSWORD": "x"}
    run([*ours, "init"])
    if args.restic:
        run([*theirs, "init"], **secret)
    create(file, args.rows, rng)
    print(f"{file.stat().st_size / 1e6:.1f} MB")
    print("day   packstone MB  wall s  CPU s" + ("    restic MB  wall s  CPU s" if args.restic else ""))
    sizes = [size(work / "packstone"), size(work / "restic") if args.restic else 0]
    for day in range(args.days + 1):
        if day:
            mutate(file, args, rng)
        wall, cpu, _ = run([*ours, "backup", "--label", "db", file.parent])
        now = size(work / "packstone")
        line = f"{day:3} {(now - sizes[0]) / 1e6:13.3f} {wall:7.2f} {cpu:6.2f}"
        sizes[0] = now
        if args.restic:
            wall, cpu, _ = run([*theirs, "backup", file.parent], **secret)
            now = size(work / "restic")
            line += f" {(now - sizes[1]) / 1e6:12.3f} {wall:7.2f} {cpu:6.2f}"
            sizes[1] = now
        print(line, flush=True)
    wall, cpu, report = run([*ours, "check", "--read-data", "--json"])
    print(f"check with data: {wall:.2f} s, {cpu:.2f} s CPU")
    findings = [line for line in report.splitlines() if "damage" in line and json.loads(line).get("is_damage")]
    if findings:
        sys.exit("\n".join(findings))
    run([*ours, "restore", "latest", "--to", work / "out"])
    restored = next((work / "out").rglob("app.db"))
    if restored.read_bytes() != file.read_bytes():
        sys.exit("the last day comes back different")
    print("the last day comes back as it was")
    shutil.rmtree(work)


main()
