#!/usr/bin/env python3
"""Databases moved to another store while a writer commits to them, in every mode the writer knows.

    migrations.py PACKSTONE WRITER [--seconds S] [--modes M,...] [--kills N] [--seed S]

WRITER is tests/datahike/writer.py. `migrate` follows the store while the writer works, is killed with SIGKILL now and then and
started again; when the writer has ended, another run cuts over while the first still follows. Then the target must hold what
the writer says it wrote, by a reader that knows nothing of this program, its six indices must be sound, and there must be
no blob that its heads do not name. The target must have been written whole once (again only after a kill), and what follows have
reached it in commits; source and target are compared only where the writer removes what was read.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from increments import MODES, VANISHING


class Failed(Exception):
    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packstone")
    parser.add_argument("writer")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modes", default=",".join(MODES))
    args = parser.parse_args()
    failed = False
    for at, mode in enumerate(args.modes.split(",")):
        # Every other mode is left in peace.
        kills = args.kills if at % 2 else 0
        with tempfile.TemporaryDirectory() as work:
            try:
                print(f"{mode}: {Migration(args, mode, Path(work), kills).run()}", flush=True)
            except Failed as why:
                failed = True
                print(f"{mode}: FAILED: {why}", flush=True)
    sys.exit(1 if failed else 0)


class Migration:
    def __init__(self, args, mode, work, kills):
        self.args, self.options, self.work, self.kills = args, MODES[mode], work, kills
        self.vanishing = mode in VANISHING
        self.rng = random.Random(args.seed)
        self.env = {**os.environ, "PACKSTONE_REPOSITORY": str(work / "repository"),
                    "PACKSTONE_CACHE_DIR": str(work / "cache"), "PACKSTONE_KEY_FILE": str(work / "key")}
        (work / "key").write_bytes(os.urandom(32))
        self.counts = {"applied": 0, "writing": 0, "transactions": 0, "lost": 0}
        self.lags = []

    def command(self, *more):
        places = [f"datahike:{self.work / 'source'}", f"datahike:{self.work / 'target'}"]
        return [self.args.packstone, "migrate", *places, "--json", *more]

    def start(self):
        self.outputs = getattr(self, "outputs", 0) + 1
        self.out = open(self.work / f"out{self.outputs}", "w+")
        self.err = open(self.work / f"err{self.outputs}", "w+")
        return subprocess.Popen(self.command("--interval", "50ms"), stdout=self.out, stderr=self.err, env=self.env)

    def said(self):
        self.out.seek(0)
        lines = [json.loads(line) for line in self.out.read().splitlines() if line.startswith("{") and line.endswith("}")]
        for line in lines:
            kind = line["message_type"]
            if kind in self.counts:
                self.counts[kind] += 1
            if kind == "applied":
                self.counts["transactions"] += line["transactions"]
                self.lags.append(line["lag_ms"])
        self.err.seek(0)
        self.counts["lost"] += self.err.read().count("compares source and target")
        return lines

    def run(self):
        subprocess.run([self.args.packstone, "init", "--quiet"], env=self.env, check=True, stdout=subprocess.DEVNULL)
        wrote = subprocess.Popen(
            [sys.executable, self.args.writer, self.work / "source", "--truth", self.work / "truth", "--datoms", "1500",
             "--seconds", str(self.args.seconds), "--rate", str(self.args.rate), *self.options],
            stdout=subprocess.PIPE, text=True)
        wrote.stdout.readline()
        run, kills = self.start(), 0
        pauses = [self.args.seconds / (self.kills + 1) * self.rng.uniform(0.5, 1) for _ in range(self.kills)]
        for pause in pauses:
            time.sleep(pause)
            if run.poll() is None:
                run.kill()
                kills += 1
            run.wait()
            self.said()
            run = self.start()
        truth = json.loads(wrote.communicate(timeout=300)[0].splitlines()[-1])
        if run.poll() is not None:
            raise Failed(f"the run that follows ended with {run.returncode}: {self.err_text()}")
        # Whether the run has caught up or not: this one takes over.
        done = subprocess.run(self.command("--cutover"), env=self.env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise Failed(f"cut-over: exit {done.returncode}: {done.stderr}")
        summary = json.loads(done.stdout.splitlines()[-1])
        if summary["end"] != "cut-over":
            raise Failed(f"cut-over: {summary}")
        if run.wait(timeout=60) != 0:
            raise Failed(f"the run that was taken over from ended with {run.returncode}: {self.err_text()}")
        last = self.said()[-1]
        if last["end"] != "taken-over":
            raise Failed(f"the first run ended otherwise: {last}")
        self.judge(truth)
        self.judge_way(truth, kills, summary)
        lags = sorted(self.lags) or [0]
        return (f"{truth['commits']} commits, {kills} kills, {self.counts['transactions']} transactions in "
                f"{self.counts['applied']} commits, {self.counts['writing']} times written whole, {self.counts['lost']} compared, "
                f"lag median {lags[len(lags) // 2]} ms, most {lags[-1]} ms")

    def judge_way(self, truth, kills, summary):
        """It got there commit by commit."""
        counts = {**self.counts, "cut-over": summary["transactions"]}
        # A run that is killed while it writes the target is gone on with by one that writes it again.
        whole = counts["writing"] + summary["rewrites"]
        if not 1 <= whole <= 1 + kills:
            raise Failed(f"the target was written whole {whole} times, with {kills} kills: {counts}, {summary}")
        if self.vanishing:
            if counts["applied"] + counts["lost"] + counts["cut-over"] == 0:
                raise Failed(f"nothing reached the target after it was written: {counts}")
            return
        if counts["lost"]:
            raise Failed(f"source and target were compared {counts['lost']} times, although all nodes stay")
        least = 1 if kills else max(1, truth["commits"] // 4)
        if counts["transactions"] + counts["cut-over"] < least:
            raise Failed(f"less than {least} of {truth['commits']} transactions reached the target in commits: {counts}")

    def err_text(self):
        self.err.seek(0)
        return self.err.read()[-2000:]

    def judge(self, truth):
        tools, target = Path(self.args.writer).resolve().parent, self.work / "target"
        walked = subprocess.run([sys.executable, tools / "walk.py", target], capture_output=True, text=True)
        if walked.returncode != 0:
            raise Failed(f"walk: {walked.stderr}")
        walked = json.loads(walked.stdout)
        if "--no-history" in self.options:
            truth["history"] = truth["current"]
        for view in ("current", "history"):
            if walked[view] != truth[view]:
                raise Failed(f"{view} is {walked[view]} where the writer says {truth[view]}")
        read = subprocess.run([sys.executable, tools / "readback.py", target, "--json"], capture_output=True, text=True)
        if read.returncode != 0:
            raise Failed(f"readback: {read.stdout[:2000]}")
        blobs = json.loads(read.stdout)["blobs"]
        # One blob is the word about the migration itself.
        if blobs["in all"] != blobs["reachable"] + 1:
            raise Failed(f"blobs are left over: {blobs}")
        again = subprocess.run(self.command(), env=self.env, capture_output=True, text=True)
        if again.returncode == 0 or "cut over" not in again.stderr:
            raise Failed(f"a run after the cut-over: exit {again.returncode}: {again.stderr}")


if __name__ == "__main__":
    main()
