#!/usr/bin/env python3
"""Databases as files, day after day: what each day adds to the repositories of packstone and restic.

    sqlite_days.py PACKSTONE [--days 10] [--scale 0.5] [--programs packstone,restic] [--work DIR]

First the SQLite file of corpora.py, of which every day 2 % of the rows are updated and 1 % inserted; then a file of 87 MB
in which one integer is changed in 1 % of the rows. Restores every day and compares it, and sets the CPU seconds of each
against those of the first day, which stands on nothing older. Exits with 1 when a promise is not kept.
"""

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import corpora
import measure
import programs

MB = 1e6
DAY_AT_MOST = 0.1
SMALL_CHANGE_AT_MOST = 0.5 * MB
RESTORE_AT_MOST = 1.5
failures = []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone", help="our program, or `none`")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--scale", type=float, default=0.5, help="1 is a GiB")
    parser.add_argument("--programs", default="packstone,restic")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    ours = None if args.packstone == "none" else os.path.abspath(args.packstone)
    wanted = [name for name in args.programs.split(",") if ours or name != "packstone"]
    work = Path(tempfile.mkdtemp(prefix="packstone-sqlite-", dir=args.work)).resolve()
    found = programs.found(ours, wanted)
    rng = random.Random(1)

    source = work / "days"
    source.mkdir()
    orders = corpora.write_database(source / "app.db", rng, args.scale)
    runs = [Run(program, work, source) for program in found]
    print(f"## {source.joinpath('app.db').stat().st_size / MB:,.0f} MB, 2 % of the rows updated and 1 % inserted a day\n")
    print(head(runs))
    for day in range(args.days + 1):
        if day:
            orders = corpora.change_database(source / "app.db", rng, orders)
        added = backup_all(runs, day)
        if day and {"packstone", "restic"} <= added.keys():
            share = added["packstone"] / added["restic"]
            promise(share <= DAY_AT_MOST, f"day {day}: {share:.3f} of what restic stores")
    restore_all(runs, args.days)

    source = work / "integers"
    source.mkdir()
    rows = write_rows(source / "rows.db", rng)
    for run in runs:
        run.begin(source)
    print(f"\n## {source.joinpath('rows.db').stat().st_size / MB:,.0f} MB, one integer in 1 % of the rows changed\n")
    print(head(runs))
    backup_all(runs, 0)
    change_integers(source / "rows.db", rng, rows)
    added = backup_all(runs, 1)
    if "packstone" in added:
        promise(added["packstone"] <= SMALL_CHANGE_AT_MOST, f"{added['packstone'] / MB:.2f} MB for changed integers")
    restore_all(runs, 1)
    shutil.rmtree(work)
    sys.exit(1 if failures else 0)


class Run:
    """A program with its repository, and what the source was at each of its backups."""

    def __init__(self, program, work, source):
        self.program, self.name, self.work = program, program.name, work
        self.begin(source)

    def begin(self, source):
        self.place = programs.Place(self.work / f"{self.name}-{source.name}", source)
        self.place.cache.mkdir(parents=True)
        self.program.prepare(self.place)
        self.size, self.digests = 0, []
        self.run(*self.program.commands("init", self.place))

    def run(self, *commands):
        """What the commands took, and by how many bytes the repository grew."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {name: str(value) for name, value in self.program.environment(self.place).items()}
        self.place.restored.mkdir(exist_ok=True)
        for command in commands:
            errors = self.place.folder / "errors"
            with errors.open("wb") as out:
                took = measure.run(command, environment, self.place.restored, out)
            if took["code"]:
                sys.exit(f"{' '.join(command)}: exit {took['code']}\n{errors.read_text()}")
        before, self.size = self.size, corpora.size(self.place.repository)[1]
        return took, self.size - before

    def backup(self):
        self.place.taken += 1
        self.digests.append(digest(self.place.source))
        return self.run(self.program.backup(self.place))

    def restore(self, day):
        """CPU seconds; the restored tree is compared with what was backed up on that day."""
        commands = self.program.restore(self.place, back=len(self.digests) - 1 - day)
        took, _ = self.run(*(list(map(str, command)) for command in commands))
        promise(digest(self.program.restored_tree(self.place)) == self.digests[day], f"{self.name}: day {day} restores otherwise")
        shutil.rmtree(self.place.restored)
        return took


def backup_all(runs, day):
    added, cells = {}, []
    for run in runs:
        corpora.warm(run.place.source)
        took, added[run.name] = run.backup()
        cells.append(f"{added[run.name] / MB:.3f} | {took['wall']:.2f} | {took['cpu']:.2f}")
    ratio = "-"
    if len(added) > 1 and "packstone" in added:
        best = min(value for name, value in added.items() if name != "packstone")
        ratio = f"{added['packstone'] / max(1, best):.3f}"
    print(f"| {day} | {' | '.join(cells)} | {ratio} |", flush=True)
    return added


def restore_all(runs, days):
    print("\n| restored day | " + " | ".join(f"{run.name} wall s | CPU s | of day 0's" for run in runs) + " |")
    print("|---" * (1 + 3 * len(runs)) + "|")
    first = {}
    for day in range(days + 1):
        cells = []
        for run in runs:
            took = run.restore(day)
            first.setdefault(run.name, took["cpu"])
            share = took["cpu"] / max(first[run.name], 0.01)
            cells.append(f"{took['wall']:.2f} | {took['cpu']:.2f} | {share:.2f}")
            if run.name == "packstone" and took["cpu"] > 1:
                promise(share <= RESTORE_AT_MOST, f"restoring day {day} costs {share:.2f} of day 0's CPU")
        print(f"| {day} | {' | '.join(cells)} |", flush=True)


def head(runs):
    names = " | ".join(f"{run.name} MB | wall s | CPU s" for run in runs)
    return f"| day | {names} | ratio |\n" + "|---" * (2 + 3 * len(runs)) + "|"


def write_rows(path, rng):
    rows = 234_000
    db = corpora.opened(path)
    db.executescript("CREATE TABLE event(id INTEGER PRIMARY KEY, count INT, name TEXT, note TEXT); BEGIN;")
    db.executemany("INSERT INTO event VALUES(?,?,?,?)", (
        (i, rng.randrange(1 << 24, 1 << 30), f"{corpora.word(rng)}-{rng.getrandbits(192):048x}", corpora.sentence(rng, 41)) for i in range(rows)))
    db.execute("COMMIT")
    db.close()
    return rows


def change_integers(path, rng, rows):
    db = corpora.opened(path)
    db.execute("BEGIN")
    db.executemany("UPDATE event SET count=? WHERE id=?",
                   ((rng.randrange(1 << 24, 1 << 30), i) for i in rng.sample(range(rows), rows // 100)))
    db.execute("COMMIT")
    db.close()


def digest(folder):
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def promise(kept, what):
    if not kept:
        failures.append(what)
        print(f"NOT KEPT: {what}", flush=True)


if __name__ == "__main__":
    main()
