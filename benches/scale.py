#!/usr/bin/env python3
"""Tens of millions of datoms: speed and peak anonymous memory of backup and restore.

    scale.py PACKSTONE [--copies 8,24] [--memory-limit 512MiB] [--shuffled] [--work DIR]

Repeats the output of debian_datoms.py (1.3 M datoms) with shifted entity and transaction ids, backs it up as EDN and
as an uncompressed dump directory, restores it, and prints a table. Anonymous memory is RssAnon, looked at every 20 ms.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from daily_datoms import DATOM, TX0, generate


def measured(command):
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        except (OSError, IndexError):
            pass
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{command}: exit {process.returncode}")
    cpu = os.times()
    return time.monotonic() - started, cpu.children_user + cpu.children_system, peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--copies", default="8,24")
    parser.add_argument("--memory-limit", default="512MiB")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--work")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="packstone-scale-", dir=args.work))
    (work / "key").write_bytes(os.urandom(32))
    base = [m.groups() for m in DATOM.finditer(generate("--days", "10"))]
    print("| what | datoms | wall s | CPU s | M datoms/s | peak anonymous MiB |")
    print("|---|---|---|---|---|---|")
    for copies in map(int, args.copies.split(",")):
        source = work / "in.edn"
        with source.open("w") as out:
            for k in range(copies):
                rows = []
                for e, a, v, t, op in base:
                    e = int(e)
                    e += k * 1000 if e > TX0 else k * 1_000_000
                    v = v.replace("\n", "\\n")
                    rows.append(f"[{e} {a} {v} {int(t) + k * 1000} {op}]\n")
                out.writelines(rows)
        count = copies * len(base)
        if args.shuffled:
            lines = source.read_text().splitlines(keepends=True)
            random.Random(1).shuffle(lines)
            source.write_text("".join(lines))
            del lines
        repository = work / f"r{copies}"
        packstone = [args.packstone, "-q", "-r", str(repository), "--key-file", str(work / "key"), "--no-cache",
                     "--memory-limit", args.memory_limit, "--temp-dir", str(work)]
        subprocess.run([*packstone, "init"], check=True, stdout=subprocess.DEVNULL)
        steps = [("backup EDN", ["backup", f"datoms:{source}"])]
        if not args.shuffled:
            steps += [
                ("restore EDN", ["restore", "latest", "--history", "--to", f"datoms:{work}/out.edn"]),
                ("restore D.2", ["restore", "latest", "--history", "--to", f"datoms:{work}/dump", "--format", "dump", "--no-gzip"]),
                ("backup D.2 again", ["backup", f"datoms:{work}/dump"]),
            ]
        steps.append(("restore current", ["restore", "latest", "--current", "--to", f"datoms:{work}/current.edn"]))
        cpu_before = sum(os.times()[2:4])
        for name, command in steps:
            wall, cpu, peak = measured([*packstone, *command])
            kind = " shuffled" if args.shuffled and name == "backup EDN" else ""
            print(f"| {name}{kind} | {count:,} | {wall:.1f} | {cpu - cpu_before:.1f} | {count / wall / 1e6:.2f} | {peak / 1024:.0f} |", flush=True)
            cpu_before = cpu
        for left in ("out.edn", "current.edn"):
            (work / left).unlink(missing_ok=True)
        shutil.rmtree(work / "dump", ignore_errors=True)
        shutil.rmtree(repository)
    shutil.rmtree(work)


main()
