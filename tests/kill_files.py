#!/usr/bin/env python3
"""kill -9 in the middle of the first backup of many files: little is stored twice, and partial snapshots are what they claim.

    kill_files.py PACKSTONE [--size 4GiB] [--at 30,60,90] [--partial-every 10s] [--most 256MiB] [--work DIR]

Kills a first backup when its repository has reached so many per cent of its final bytes. What is left must pass `check`;
every partial snapshot must be listed, verify, and restore exactly what `ls` says it has, equal to the source. Running the
backup again must store at most `--most` of content a second time, and restore all of the source.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benches" / "peers"))
import compare
import corpora

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
BIG_FILES = 300


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--size", type=parse_size, default="4GiB")
    parser.add_argument("--at", default="30,60,90")
    parser.add_argument("--partial-every", default="10s")
    parser.add_argument("--most", type=parse_size, default="256MiB")
    parser.add_argument("--work")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="packstone-kill-files-", dir=args.work)).resolve()
    source = work / "source"
    write_source(source, args.size)
    files, size = corpora.size(source)
    print(f"source: {files:,} files, {size >> 20:,} MiB")

    whole = Repository(args.packstone, work, "whole", args.partial_every)
    summary = whole.backup(source)
    uninterrupted, content = whole.size(), summary["data_added"]
    print(f"uninterrupted: {uninterrupted >> 20:,} MiB of repository for {content >> 20:,} MiB of content")
    whole.remove()

    partials = 0
    for percent in map(int, args.at.split(",")):
        repository = killed_at(args, work, source, uninterrupted, percent)
        left = repository.size()
        repository.run("check")
        found = [s for s in repository.json("snapshots")[0] if s["status"] == "partial"]
        for snapshot in found:
            claimed = repository.check_partial(snapshot["id"], source)
            print(f"  partial snapshot {snapshot['short_id']}: {claimed:,} entries verified, restored and equal")
        partials += len(found)
        repository.backup(source)
        # What lies in the repository beyond a backup that nobody killed was stored twice; by its content, as much more as
        # all of it compresses.
        twice = max(repository.size() - uninterrupted, 0) * content // uninterrupted
        print(f"killed at {percent} %: {left >> 20:,} MiB were there, {twice >> 20:,} MiB of content stored twice")
        if twice > args.most:
            sys.exit(f"more than {args.most >> 20} MiB were stored a second time")
        if [s["status"] for s in repository.json("snapshots")[0]] != ["complete"]:
            sys.exit("the complete snapshot has not taken the place of the partial ones")
        repository.run("check")
        repository.compare_restored("latest", source)
        repository.remove()
    if not partials:
        sys.exit("no partial snapshot was left behind: nothing was tested; give a shorter --partial-every")
    print(f"{partials} partial snapshots; every complete one restores what the source is")
    shutil.rmtree(work)


class Repository:
    """A repository and the program that works on it."""

    def __init__(self, packstone, work, name, partial_every):
        self.path, self.restored, self.partial_every = work / name, work / f"{name}-restored", partial_every
        self.key, self.cache = work / f"{name}.key", work / f"{name}.cache"
        self.key.write_bytes(os.urandom(32))
        self.base = [packstone, "-r", str(self.path), "--key-file", str(self.key), "--cache-dir", str(self.cache)]
        self.run("init")

    def run(self, *arguments):
        done = subprocess.run([*self.base, *arguments], capture_output=True, text=True, errors="surrogateescape")
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def json(self, *arguments):
        """The documents that a command prints: one, or one a line."""
        text = self.run(*arguments, "--json")
        try:
            return [json.loads(text)]
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def backup_command(self, source):
        return [*self.base, "backup", str(source), "--partial-every", self.partial_every, "--json"]

    def backup(self, source):
        command = self.backup_command(source)[len(self.base):-1]
        return next(message for message in self.json(*command) if message.get("message_type") == "summary")

    def size(self):
        """Bytes of objects; what is not yet one has not been stored."""
        return sum(size_of(folder) for folder in self.path.iterdir() if folder.name != "tmp")

    def check_partial(self, snapshot, source):
        """The entries that a partial snapshot claims to have, all of which it restores equal to the source."""
        self.run("verify", snapshot)
        claimed = {entry["path"] for entry in entries(self.json("ls", snapshot, "--recursive"))}
        tree = self.restore(snapshot, source)
        found = {str(source)} | {str(source / path.relative_to(tree)) for path in tree.rglob("*")}
        below = {path for path in claimed if path == str(source) or path.startswith(f"{source}/")}
        if below != found:
            sys.exit(f"snapshot {snapshot} lists {len(below)} entries and restores {len(found)}: {sorted(below ^ found)[:5]}")
        if len(below) < 2:
            sys.exit(f"snapshot {snapshot} is empty")
        _, differs = compare.differences(source, tree)
        # It was to be expected that not everything is there yet.
        differs.pop("missing", None)
        if differs:
            sys.exit(f"snapshot {snapshot} restores something else: {differs}")
        shutil.rmtree(self.restored)
        return len(below)

    def compare_restored(self, snapshot, source):
        tree = self.restore(snapshot, source)
        _, differs = compare.differences(source, tree)
        if differs or compare.by_rsync(source, tree):
            sys.exit(f"{snapshot} restores something else: {differs or compare.by_rsync(source, tree)[:5]}")
        shutil.rmtree(self.restored)

    def restore(self, snapshot, source):
        self.run("restore", snapshot, "--to", str(self.restored))
        nested = self.restored / source.relative_to("/")
        return nested if nested.is_dir() else self.restored

    def remove(self):
        for folder in (self.path, self.cache, self.restored):
            shutil.rmtree(folder, ignore_errors=True)


def killed_at(args, work, source, uninterrupted, percent):
    """A repository whose first backup was killed when it held so many per cent of the bytes of a whole one."""
    for attempt in range(10):
        # The last bytes come at once: when it was too late, a little earlier.
        wanted = uninterrupted * (percent - 2 * attempt) // 100
        repository = Repository(args.packstone, work, f"killed-{percent}-{attempt}", args.partial_every)
        process = subprocess.Popen(repository.backup_command(source), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and repository.size() < wanted:
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            process.wait()
            return repository
        if process.returncode:
            sys.exit(f"backup: exit {process.returncode}")
        repository.remove()
    sys.exit(f"could not kill it at {percent} %")


def entries(documents):
    """The entries in what `ls` prints, whether as a list, a document or a line for each."""
    for document in documents:
        if isinstance(document, list):
            yield from entries(document)
        elif isinstance(document, dict) and "path" in document:
            yield document
        elif isinstance(document, dict):
            yield from entries([value for value in document.values() if isinstance(value, list)])


def write_source(source, size):
    """20,000 small files at 4 GiB, and big ones of which every other one does not compress."""
    rng = random.Random(7)
    small = max(20_000 * size // UNITS["GiB"] // 4, 1000)
    for number in range(small):
        folder = source / "small" / f"{number // 100:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.txt").write_text(f"{number}\n" + rng.randbytes(rng.randrange(50, 8000)).hex())
    big = size // BIG_FILES
    for number in range(BIG_FILES):
        folder = source / "big" / f"{number // 20:02}"
        folder.mkdir(parents=True, exist_ok=True)
        length = int(big * rng.uniform(0.5, 1.5))
        (folder / f"{number:03}.bin").write_bytes(rng.randbytes(length) if number % 2 else rng.randbytes(length // 2).hex().encode())


def size_of(path):
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                # Removed since it was listed.
                pass
    return total


def parse_size(text):
    unit = next((unit for unit in UNITS if text.endswith(unit)), None)
    return int(float(text.removesuffix(unit or "")) * UNITS.get(unit, 1))


if __name__ == "__main__":
    main()
