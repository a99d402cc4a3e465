#!/usr/bin/env python3
"""A store of a million datoms that this program writes, edited by it, backed up, and restored: bytes, CPU, peak memory.

    datahike_million.py PACKSTONE [--datoms 1000000] [--changes 2,100,10000] [--work FOLDER]

A history is made, restored to a store and migrated to another one. Then so many datoms change in one transaction: the source
becomes that, `migrate` puts the difference into the other store, and that is backed up as an increment. In the end the last
snapshot is restored and compared with the store. The key is a key file, so that no password is stretched.
"""

import argparse
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from measure import folder_bytes, measure

T = 536870913


class History:
    """Lines of EDN, of entities with four attributes."""

    def __init__(self, path, datoms):
        self.path, self.rng, self.t, self.now = path, random.Random(1), T, {}
        self.first, self.count = 10, 0
        with open(path, "w") as self.out:
            self.instant()
            kinds = [(":p/name", "string"), (":p/n", "long"), (":p/x", "double"), (":p/k", "keyword")]
            for e, (ident, kind) in enumerate(kinds, 1):
                self.datom(e, ":db/ident", ident)
                self.datom(e, ":db/valueType", f":db.type/{kind}")
                self.datom(e, ":db/cardinality", ":db.cardinality/one")
            self.datom(1, ":db/index", "true")
            self.datom(9, ":db/doc", '"gone"')
            entities = range(self.first, self.first + (datoms - self.count) // 4)
            for e in entities:
                if e % 1000 == 10:
                    self.transaction()
                if e == self.first:
                    self.datom(9, ":db/doc", '"gone"', "false")
                self.now[e] = self.rng.getrandbits(30), self.t
                self.datom(e, ":p/name", f'"name-{e}-{self.rng.getrandbits(40)}"')
                self.datom(e, ":p/n", self.now[e][0])
                self.datom(e, ":p/x", repr(self.rng.random()))
                self.datom(e, ":p/k", f":kind/k{e % 50}")

    def datom(self, e, a, v, added="true"):
        self.out.write(f"[{e} {a} {v} {self.t} {added}]\n")
        self.count += 1

    def instant(self):
        at = self.t - T
        day, hour, minute, second = 1 + at // 86400 % 28, at // 3600 % 24, at // 60 % 60, at % 60
        self.datom(self.t, ":db/txInstant", f'#inst "2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}.000-00:00"')

    def transaction(self):
        self.t += 1
        self.instant()

    def change(self, datoms):
        """One transaction of so many datoms, among entities anywhere."""
        with open(self.path, "a") as self.out:
            self.transaction()
            left = datoms - 1
            if left % 2:
                new = self.first + len(self.now)
                self.now[new] = 7, self.t
                self.datom(new, ":p/n", 7)
                left -= 1
            for e in self.rng.sample(sorted(self.now), left // 2):
                old, _ = self.now[e]
                self.now[e] = old + 1, self.t
                self.datom(e, ":p/n", old, "false")
                self.datom(e, ":p/n", old + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packstone")
    parser.add_argument("--datoms", type=int, default=1_000_000)
    parser.add_argument("--changes", default="2,100,10000")
    parser.add_argument("--work", default=None)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(dir=args.work))
    (work / "key").write_bytes(os.urandom(32))
    source, store = work / "source", work / "store"

    def program(repository):
        env = {**os.environ, "PACKSTONE_REPOSITORY": str(work / repository), "PACKSTONE_CACHE_DIR": str(work / "cache")}
        return [args.packstone, "--key-file", str(work / "key"), "--json"], env

    def run(repository, *arguments):
        command, env = program(repository)
        subprocess.run([*command, *arguments], env=env, check=True, stdout=subprocess.DEVNULL)

    def measured(name, repository, *arguments):
        command, env = program(repository)
        before = folder_bytes(work / repository)
        lines, took = measure([*command, *arguments], env)
        summary = next(line for line in lines if line.get("message_type") == "summary")
        size, read = folder_bytes(store), summary.get("total_bytes_processed", summary.get("bytes_read"))
        read = f"read {read:>11} ({read / size:7.3%})" if read is not None else " " * 26
        written = folder_bytes(work / repository) - before
        print(f"{name:36} {read} written {written:>9} cpu {took['cpu_ms']:>5} ms wall {took['wall_ms']:>5} ms "
              f"rss {took['rss_mib']:>5} MiB", flush=True)

    def become():
        run("scripts", "backup", f"datoms:{work / 'history.edn'}", "--label", "script")
        shutil.rmtree(source, ignore_errors=True)
        run("scripts", "restore", "latest", "--label", "script", "--to", f"datahike:{source}")

    for repository in ("scripts", "moves", "backups"):
        run(repository, "init")
    history = History(work / "history.edn", args.datoms)
    become()
    measured("migrate, the first time", "moves", "migrate", f"datahike:{source}", f"datahike:{store}", "--once")
    print(f"{history.count} datoms, the store has {folder_bytes(store)} bytes in {len(list(store.iterdir()))} blobs")
    measured("backup, the first one", "backups", "backup", f"datahike:{store}")
    measured("backup, nothing changed", "backups", "backup", f"datahike:{store}")
    for count in map(int, args.changes.split(",")):
        history.change(count)
        become()
        # Datahike removes what it replaced only when its collector runs; `migrate` does at once.
        shutil.copytree(store, work / "before", copy_function=os.link)
        measured(f"migrate, {count} datoms changed", "moves", "migrate", f"datahike:{source}", f"datahike:{store}", "--once")
        for file in (work / "before").iterdir():
            if not (store / file.name).exists():
                os.link(file, store / file.name)
        shutil.rmtree(work / "before")
        measured(f"backup, {count} datoms changed", "backups", "backup", f"datahike:{store}")
    measured("cut-over", "moves", "migrate", f"datahike:{source}", f"datahike:{store}", "--cutover")
    measured("verify against the source", "scripts", "verify", f"datahike:{store}", "--against", "latest")
    measured("backup, everything read", "backups", "backup", f"datahike:{store}", "--full")
    restored = work / "restored"
    measured("restore", "backups", "restore", "latest", "--to", f"datahike:{restored}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
