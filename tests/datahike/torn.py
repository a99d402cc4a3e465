#!/usr/bin/env python3
"""Backups of a Datahike store that is written at full speed: none torn, none silently partial.

    torn.py PACKSTONE [--snapshots 1000] [--seconds S] [--mode full|increment] [--scenario NAME]... [--seed N]
    torn.py python ...                          the same with the reader of these tests, `walk.py`

`writer.py` commits while backups are made one after the other; a snapshot's commit must be one that was written, its t
that commit's, and what is restored from it, current and history, must have that commit's digests. A backup that fails
must say so: exit 1 or 3 and the address it could not read. In the `slow` scenarios the backup is stopped and let go at
random, so that garbage is collected in mid-walk. `crash` kills the writer between nodes and head, `stopped` stops it while
it holds konserve's locks. Exits 1 at the first snapshot that is torn or partial, when a scenario whose reader is not slow gives
none, and when all together give less than were wanted, or than half of them with `--seconds`.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import edn

HERE = Path(__file__).resolve().parent
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# name -> (share of the snapshots, slow reader, arguments of the writer)
SCENARIOS = {
    "recycle": (20, False, "--datoms 2000 --branching 16 --recycle --grace 0.05"),
    "recycle-512": (5, False, "--datoms 2000 --recycle --grace 0.02 --purge-every 20"),
    "gc": (10, False, "--datoms 2000 --branching 32 --gc-every 3 --second-branch 7"),
    "legacy": (10, False, "--datoms 2000 --branching 512 --legacy --recycle --grace 0.02"),
    "big-recycle": (15, False, "--datoms 20000 --branching 64 --recycle --grace 0.2"),
    "big-gc": (10, False, "--datoms 20000 --branching 512 --gc-every 100 --purge-every 15"),
    "fused": (5, False, "--datoms 2000 --branching 64 --fused --recycle --grace 0.05"),
    "buffered": (5, False, "--datoms 2000 --branching 16 --diff-buf 24 --recycle --grace 0.05"),
    "crypto": (5, False, "--datoms 2000 --branching 32 --crypto-hash --gc-every 5"),
    "plain": (5, False, "--datoms 2000 --grace 0.02 --no-history --no-graph --branching 128 --recycle"),
    "inline": (3, False, "--datoms 2000 --branching 32 --legacy --inline-schema --gc-every 4"),
    "mixed": (3, False, "--datoms 2000 --branching 32 --upgrade-after 60 --recycle --grace 0.02"),
    "slow-gc": (5, True, "--datoms 20000 --branching 64 --gc-every 1 --rate 8"),
    "slow-recycle": (5, True, "--datoms 20000 --branching 64 --recycle --rate 8"),
    "hopeless": (0, True, "--datoms 20000 --branching 16 --gc-every 1"),
    "crash": (0, False, "--datoms 2000 --branching 16"),
    "stopped": (0, False, "--datoms 2000 --branching 16 --locks"),
}


class Failed(Exception):
    """What must not happen."""


class Truth:
    """The truth log, read as far as it has grown."""

    def __init__(self, path):
        self.path, self.at, self.lines, self.last = path, 0, {}, None

    def of(self, commit):
        with open(self.path, "rb") as file:
            file.seek(self.at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.at += len(line)
                entry = json.loads(line)
                self.lines[entry["commit"]] = entry
                if entry["branch"] == "db":
                    self.last = entry
        return self.lines.get(commit)


class Writer:
    """`writer.py` beside us."""

    def __init__(self, work, options, seed, *more):
        self.store, self.truth_file = work / "store", work / "truth.jsonl"
        self.errors = open(work / "writer.err", "ab")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "writer.py"), str(self.store), "--truth", str(self.truth_file), "--seed", str(seed),
             *options.split(), *more], stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.ready = self.process.stdout.readline()
        self.truth = Truth(self.truth_file)

    def alive(self):
        return self.process.poll() is None

    def end(self):
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        out, _ = self.process.communicate(timeout=60)
        self.errors.close()
        return json.loads(out) if out.strip() else {}


def jerky(process, rng):
    """Stops a process and lets it go until it ends."""
    while process.poll() is None:
        time.sleep(rng.uniform(0.0005, 0.006))
        try:
            process.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.005, 0.12))
            process.send_signal(signal.SIGCONT)
        except ProcessLookupError:
            return


def run(arguments, slow=None, timeout=300):
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if slow:
        threading.Thread(target=jerky, args=(process, slow), daemon=True).start()
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
        raise Failed(f"{' '.join(arguments)}: no end within {timeout} s") from None
    return process.returncode, out, err.decode(errors="replace")


class Own:
    """The reader of these tests: a snapshot is its digests."""

    name = "walk.py"

    def __init__(self, work, store, args):
        self.command = [sys.executable, str(HERE / "walk.py"), str(store), *(["--gullible"] if args.gullible else [])]

    def backup(self, slow):
        code, out, err = run(self.command, slow)
        return code, err, json.loads(out) if code == 0 else None

    def restarts(self, taken):
        return taken["restarts"]

    def contents(self, taken):
        return taken["commit"], taken["t"], taken["current"], taken["history"]


class Packstone:
    """The program, with a key file."""

    def __init__(self, work, store, args):
        self.source, self.hashes, self.mode = f"datahike:{store}", {}, args.mode
        key = work / "key"
        key.write_bytes(os.urandom(32))
        self.base = [args.packstone, "-r", str(work / "repository"), "--key-file", str(key), "--cache-dir", str(work / "cache")]
        self.must("init")
        self.known = {}

    def must(self, *arguments):
        code, out, err = run([*self.base, *arguments])
        if code:
            raise Failed(f"{' '.join(arguments)}: exit {code}\n{err}")
        return out

    def backup(self, slow):
        options = ["--full"] if self.mode == "full" else []
        code, out, err = run([*self.base, "backup", self.source, "--json", *options], slow)
        summary = None
        if code == 0:
            summary = [json.loads(line) for line in out.splitlines() if b'"summary"' in line][-1]
        return code, err + (out.decode(errors="replace") if code else ""), summary

    def restarts(self, taken):
        return sum(note["count"] for note in taken.get("notes", ()) if note["note"].startswith("starts over"))

    def digest(self, *arguments):
        out, digest = self.must("restore", *arguments, "--to", "datoms:-"), edn.Digest()
        for line in out.split(b"\n"):
            if line:
                h = self.hashes.get(line)
                if h is None:
                    h = self.hashes[line] = edn.hash_of(line.decode("utf-8", "surrogatepass"))
                digest.add(h)
        return str(digest)

    def contents(self, taken):
        snapshot = taken["snapshot_id"]
        if snapshot not in self.known:
            self.known = {s["id"]: s["properties"] for s in json.loads(self.must("snapshots", "--json"))}
        properties = self.known[snapshot]
        commit = UUID.search(str(properties.get("commit")))
        if not commit:
            raise Failed(f"snapshot {snapshot} names no commit: {properties}")
        current = self.digest(snapshot, "--current")
        return commit[0], int(properties["max-t"]), current, self.digest(snapshot)


def judge(reader, truth, taken, history):
    """Compares a snapshot with the line of truth of its commit."""
    commit, t, current, past = reader.contents(taken)
    line = truth.of(commit)
    if line is None:
        raise Failed(f"commit {commit} was never written")
    expected = (line["t"], line["current"], line["history"] if history else line["current"])
    if (t, current, past) != expected:
        raise Failed(f"TORN: commit {commit}\n  written {expected}\n  read    {(t, current, past)}")
    return t


def clean(code, err):
    """Whether a failure says what it is: a failing exit status, and the address or index that could not be read."""
    return code in (1, 3) and (UUID.search(err) or re.search(r"index (temporal-)?[ae]", err)) and "panicked" not in err and "Traceback" not in err


class Tally(collections.Counter):
    def __str__(self):
        return ", ".join(f"{v} {k}" for k, v in self.items())


def steady(name, wanted, slow, options, args, work, rng, seconds):
    """Backups one after the other beside a writer that does not stop, for so long at most."""
    tally, ts, taken = Tally(), set(), []
    writer = Writer(work, options, rng.randrange(1 << 30))
    deadline = time.monotonic() + seconds
    history = "--no-history" not in options
    kind = Own if args.packstone == "python" else Packstone
    try:
        reader = kind(work, writer.store, args)
        while tally["snapshots"] < wanted and time.monotonic() < deadline:
            if not writer.alive():
                raise Failed(f"the writer ended: {(work / 'writer.err').read_text()[-2000:]}")
            code, err, result = reader.backup(random.Random(rng.random()) if slow else None)
            if code == 0:
                tally["snapshots"] += 1
                tally["restarts"] += reader.restarts(result)
                taken.append(result)
            elif clean(code, err):
                tally["clean failures"] += 1
            else:
                raise Failed(f"an unclean failure: exit {code}\n{err[-3000:]}")
            if len(taken) >= 50:
                ts.update(judge(reader, writer.truth, x, history) for x in taken)
                taken = []
        ts.update(judge(reader, writer.truth, x, history) for x in taken)
    finally:
        stats = writer.end()
    tally["distinct t"] = len(ts)
    tally["commits"] = stats.get("commits", 0)
    tally["nodes recycled"] = stats.get("recycled", 0)
    tally["blobs collected"] = stats.get("collected", 0)
    if tally["snapshots"] == 0 and not slow:
        raise Failed(f"not one snapshot: {tally}")
    if tally["snapshots"] > 3 and len(ts) == 1:
        raise Failed(f"the writer commits, and every snapshot is of one commit: {tally}")
    return tally


def crash(args, options, work, rng, rounds):
    """A writer killed between its nodes and its head, again and again in one store; each time the last head is whole."""
    tally, reader = Tally(), None
    for _ in range(rounds):
        at = rng.randint(1, 12)
        writer = Writer(work, options, rng.randrange(1 << 30), "--die-at", str(at + 9 * (not reader)), "--die-after-nodes",
                        str(rng.randrange(12)))
        writer.process.wait(timeout=120)
        writer.process.stdout.close()
        if writer.process.returncode != -signal.SIGKILL:
            raise Failed(f"the writer was not killed: {writer.process.returncode} {(work / 'writer.err').read_text()[-2000:]}")
        kind = Own if args.packstone == "python" else Packstone
        reader = reader or kind(work, writer.store, args)
        code, err, result = reader.backup(None)
        if code:
            raise Failed(f"after a crash: exit {code}\n{err[-3000:]}")
        t = judge(reader, writer.truth, result, True)
        if t != writer.truth.last["t"]:
            raise Failed(f"the last head is t {writer.truth.last['t']}, the snapshot has {t}")
        tally["snapshots"] += 1
        tally["crashes"] += 1
    return tally


def stopped(args, options, work, rng):
    """A writer that is stopped while it holds the locks of the head and the roots keeps no backup waiting."""
    writer = Writer(work, options, rng.randrange(1 << 30), "--stop-in-lock", "25")
    for _ in range(1200):
        if Path(f"/proc/{writer.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            break
        time.sleep(0.05)
    else:
        raise Failed("the writer did not stop")
    reader = (Own if args.packstone == "python" else Packstone)(work, writer.store, args)
    started = time.monotonic()
    code, err, result = reader.backup(None)
    took = time.monotonic() - started
    if code or took > 30:
        raise Failed(f"beside a stopped writer: exit {code} after {took:.1f} s\n{err[-3000:]}")
    judge(reader, writer.truth, result, True)
    writer.end()
    return Tally({"snapshots": 1, "milliseconds": round(took * 1000)})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0, help="at most so long, shared by the scenarios")
    parser.add_argument("--mode", choices=["full", "increment"], default="increment")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--gullible", action="store_true", help="with `python`: a reader that believes addresses; must be caught")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    rng = random.Random(args.seed)
    chosen = args.scenario or list(SCENARIOS)
    shares = sum(SCENARIOS[name][0] for name in chosen) or 1
    whole, began = Tally(), time.monotonic()
    top = Path(tempfile.mkdtemp(prefix="packstone-torn-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        for i, name in enumerate(chosen):
            share, slow, options = SCENARIOS[name]
            work = top / name
            work.mkdir()
            started = time.monotonic()
            left = (began + args.seconds - started) / (len(chosen) - i) if args.seconds else 3600
            wanted = max(1, -(-args.snapshots * share // shares))
            try:
                if name == "crash":
                    tally = crash(args, options, work, rng, max(3, min(30, args.snapshots // 20)))
                elif name == "stopped":
                    tally = stopped(args, options, work, rng)
                else:
                    least = min(left, 20 if share == 0 else left)
                    tally = steady(name, wanted if share else 1 << 30, slow, options, args, work, rng, least)
            except Failed as e:
                args.keep = True
                sys.exit(f"seed {args.seed}: {name}: {e}\n(kept: {work})")
            print(f"{name:14} {tally} ({time.monotonic() - started:.1f} s)", flush=True)
            whole.update({k: v for k, v in tally.items() if k != "milliseconds"})
            shutil.rmtree(work)
    finally:
        if not args.keep:
            shutil.rmtree(top, ignore_errors=True)
    print(f"none torn, none partial: {whole} in {time.monotonic() - began:.0f} s")
    least = args.snapshots // 2 if args.seconds else args.snapshots
    if whole["snapshots"] < least and not args.scenario:
        sys.exit(f"only {whole['snapshots']} snapshots, not {least}")


if __name__ == "__main__":
    main()
