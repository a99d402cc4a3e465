#!/usr/bin/env python3
"""A datom database backed up every day: what each day costs, and whether each day comes back.

    daily.py PACKSTONE [--days 10] [--packages N] [--restic] [--work DIR]

Makes a realistic history from Debian's package index (debian_datoms.py; run `apt-get update` once first), backs it up
after each day, once as history and once as state without history, and prints what each day stored beside the gzip -6
size of that day's datoms as a dump directory (D.2). Then restores each day (`--as-of` its last transaction, `--current`)
and compares it with the generator's own answer. Exits with 1 when a promise is not kept.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import daily_datoms
from daily_datoms import DATOM


def generate(args, *more):
    return daily_datoms.generate("--packages", str(args.packages), *more)


def datoms(text):
    """(e, a, v, t, added) of each datom; the generator leaves line feeds in strings as they are."""
    return [m.groups() for m in DATOM.finditer(text)]


def lines(found):
    return ["[%s %s %s %s %s]" % (e, a, v.replace("\n", "\\n"), t, op) for e, a, v, t, op in found]


class Packstone:
    def __init__(self, program, repository, key, cache):
        self.base = [program, "-r", str(repository), "--key-file", str(key), "--cache-dir", str(cache)]
        self.repository = repository
        self.run("init")

    def run(self, *arguments):
        started = time.monotonic()
        done = subprocess.run([*self.base, *arguments, "--json"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        self.seconds = time.monotonic() - started
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def objects(self):
        return {p.relative_to(self.repository): p.stat().st_size for p in self.repository.rglob("*")
                if p.is_file() and p.relative_to(self.repository).parts[0] != "tmp"}


def gzipped_dump(packstone, source_text, work):
    """gzip -6 of each chunk of these datoms as an uncompressed dump directory."""
    folder = Path(tempfile.mkdtemp(dir=work))
    (folder / "in.edn").write_text("\n".join(source_text) + "\n")
    helper = Packstone(packstone.base[0], folder / "r", packstone.base[4], folder / "cache")
    helper.run("backup", f"datoms:{folder}/in.edn", "--view", "history")
    helper.run("restore", "latest", "--history", "--to", f"datoms:{folder}/dump", "--format", "dump", "--no-gzip")
    size = sum(len(gzip.compress(p.read_bytes(), 6)) for p in (folder / "dump").glob("datoms-*"))
    shutil.rmtree(folder)
    return size


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--packages", type=int, default=0, help="use the first N packages (0: all)")
    parser.add_argument("--restic", action="store_true", help="back up the same files with restic beside it")
    parser.add_argument("--work")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="packstone-daily-", dir=args.work))
    failures = []

    def promise(kept, what):
        if not kept:
            failures.append(what)
            print(f"NOT KEPT: {what}")

    log = datoms(generate(args, "--days", str(args.days)))
    day_end = [int(log[-1][3]) - args.days + day for day in range(args.days + 1)]
    key = work / "key"
    key.write_bytes(os.urandom(32))
    history = Packstone(args.packstone, work / "history", key, work / "cache")
    state = Packstone(args.packstone, work / "state", key, work / "cache")
    restic = None
    if args.restic:
        env = dict(os.environ, RESTIC_PASSWORD="x", RESTIC_REPOSITORY=str(work / "restic"), RESTIC_CACHE_DIR=str(work / "rc"))
        restic = lambda *a: subprocess.run(["restic", "-q", *a], env=env, check=True, capture_output=True)
        restic("init")
    size_of = lambda folder: sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())

    print("| day | datoms | gzip -6 of D.2 | history stored | ratio | state stored | ratio | restic, same file |")
    print("|---|---|---|---|---|---|---|---|")
    source, state_source = work / "history.edn", work / "state.edn"
    total_gzip = gzipped_dump(history, lines(log), work)
    states = {}
    for day, end in enumerate(day_end):
        new = [d for d in log if int(d[3]) <= end and (day == 0 or int(d[3]) > day_end[day - 1])]
        source.write_text("\n".join(lines(d for d in log if int(d[3]) <= end)) + "\n")
        states[day] = sorted(lines(datoms(generate(args, "--days", str(day), "--state"))))
        state_source.write_text("\n".join(states[day]) + "\n")
        gz = gzipped_dump(history, lines(new), work)
        costs = []
        for packstone, path in [(history, source), (state, state_source)]:
            before = packstone.objects()
            packstone.run("backup", f"datoms:{path}", "--label", "daily", "--host", "bench")
            after = packstone.objects()
            costs.append(sum(size for path, size in after.items() if before.get(path) != size))
        beside = "-"
        if restic:
            before = size_of(work / "restic")
            restic("backup", str(source))
            beside = f"{size_of(work / 'restic') - before:,}"
        print(f"| {day} | {len(new):,} | {gz:,} | {costs[0]:,} | {costs[0] / gz:.2f} | {costs[1]:,} | {costs[1] / gz:.2f} | {beside} |")
        if day:
            promise(costs[0] <= 1.3 * gz + 24 * 1024, f"day {day}: {costs[0]} B stored for a history increment of {gz} B gzipped")
            promise(costs[1] <= 2.5 * (1.3 * gz + 24 * 1024), f"day {day}: {costs[1]} B stored for a state increment of {gz} B gzipped")

    before = history.objects()
    history.run("backup", f"datoms:{source}", "--label", "daily", "--host", "bench")
    added = {path: size for path, size in history.objects().items() if path not in before}
    print(f"\nUnchanged run: {len(added)} objects, {sum(added.values()):,} B, {history.seconds:.2f} s")
    promise(len(added) <= 4 and not any(p.parts[0] == "packs" for p in added), f"an unchanged run wrote {list(added)}")
    repository = sum(history.objects().values())
    print(f"Repository: {repository:,} B for {total_gzip:,} B of gzipped D.2, ratio {repository / total_gzip:.3f}, "
          f"{repository / len(log):.2f} B/datom")
    promise(repository <= 0.70 * total_gzip, "the repository is over 0.70 of the gzipped D.2")

    out = work / "out.edn"
    for day, end in enumerate(day_end):
        history.run("restore", "latest", "--as-of", str(end), "--current", "--to", f"datoms:{out}", "--overwrite")
        promise(sorted(out.read_text().splitlines()) == states[day], f"as of day {day}: not the generator's state")
    for day in (0, args.days):
        snapshot = f"latest~{args.days - day}" if day < args.days else "latest"
        state.run("restore", snapshot, "--to", f"datoms:{out}", "--overwrite")
        promise(sorted(out.read_text().splitlines()) == states[day], f"state of day {day}: not what was backed up")
    print(f"Every day as of its last transaction: {'equal' if not failures else 'see above'}")
    shutil.rmtree(work)
    sys.exit(1 if failures else 0)


main()
