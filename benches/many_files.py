#!/usr/bin/env python3
"""A million empty files on a real file system: time and peak anonymous memory of what is done with them.

    many_files.py PACKSTONE [--files 1000000] [--in-directory 1000] [--restore] [--most 400] [--work DIR]

Exits with 1 when a step takes more than `--most` MiB of anonymous memory. `cargo bench --bench many_files` does the same
with ten million synthetic entries and the library alone.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
import corpora
import measure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--in-directory", type=int, default=1000)
    parser.add_argument("--restore", action="store_true", help="restore them too")
    parser.add_argument("--most", type=int, default=400, help="MiB of anonymous memory that a step may take")
    parser.add_argument("--work")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="packstone-many-", dir=args.work)).resolve()
    source = work / "source"
    for number in range(args.files):
        folder = source / f"{number // args.in_directory:06}"
        if number % args.in_directory == 0:
            folder.mkdir(parents=True)
        os.close(os.open(folder / f"{number:09}.eml", os.O_CREAT | os.O_WRONLY))
    key, repository = work / "key", work / "repository"
    key.write_bytes(os.urandom(32))
    program = os.path.abspath(args.packstone)
    base = [program, "-q", "-r", str(repository), "--key-file", str(key), "--cache-dir", str(work / "cache")]
    middle = args.files // args.in_directory // 2
    steps = [
        ("init", ["init"]),
        ("first backup", ["backup", str(source)]),
        ("unchanged backup", ["backup", str(source)]),
        ("ls of one directory", ["ls", "latest", f"{source}/{middle:06}"]),
        ("find by name", ["find", f"{args.files * 2 // 3:09}.eml"]),
    ]
    if args.restore:
        steps.append(("restore", ["restore", "latest", "--to", str(work / "restored")]))
    print("| what | files | wall s | CPU s | peak anonymous MiB | repository MB |\n|---|---|---|---|---|---|")
    over = []
    for name, command in steps:
        took = measure.run([*base, *command])
        if took["code"]:
            sys.exit(f"{' '.join(command)}: exit {took['code']}")
        anonymous = took["anonymous_kib"] >> 10
        size = corpora.size(repository)[1] / 1e6
        print(f"| {name} | {args.files:,} | {took['wall']:.2f} | {took['cpu']:.2f} | {anonymous} | {size:.1f} |", flush=True)
        if anonymous > args.most:
            over.append(f"{name}: {anonymous} MiB")
    shutil.rmtree(work)
    sys.exit(f"over {args.most} MiB: {'; '.join(over)}" if over else 0)


main()
