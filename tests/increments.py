#!/usr/bin/env python3
"""Increments of stores that a writer commits to, compared with reading everything: in every mode the writer knows.

    increments.py PACKSTONE WRITER [--rounds N]

WRITER is tests/datahike/writer.py. A round is a few commits, a pause, and an increment; every fourth round reads everything as well,
and the program compares: it exits with 3 when an increment has missed something. The last round has no commits. Every round
after the first must be told from the parent, and every fourth compared; where the writer writes over what the parent read, or
removes it, all but the last may be read from the beginning, for that reason. Says how many there were of each.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODES = {
    "plain": [],
    "narrow": ["--branching", "8"],
    "purges": ["--branching", "16", "--purge-every", "2"],
    "diff-buf": ["--branching", "8", "--diff-buf", "16", "--purge-every", "5"],
    "fused": ["--branching", "8", "--fused"],
    "legacy": ["--branching", "16", "--legacy"],
    "crypto-hash": ["--branching", "16", "--crypto-hash"],
    "recycle": ["--branching", "16", "--recycle"],
    "garbage": ["--branching", "16", "--gc-every", "3"],
    "branches": ["--branching", "16", "--second-branch", "4"],
    "no-graph": ["--branching", "16", "--no-graph"],
    "no-history": ["--branching", "16", "--no-history"],
    "no-history-recycle": ["--branching", "16", "--no-history", "--recycle", "--purge-every", "3"],
    "no-history-legacy": ["--branching", "16", "--no-history", "--legacy"],
    "no-history-diff-buf": ["--branching", "8", "--no-history", "--diff-buf", "16", "--second-branch", "4"],
    "inline-schema": ["--branching", "16", "--legacy", "--inline-schema"],
    "mixed": ["--branching", "16", "--upgrade-after", "30", "--inline-schema"],
}

# Where nodes of the parent vanish, and the only reason that a round may have there.
VANISHING = {"recycle", "garbage", "no-history-recycle"}
VANISHED = "node ID of the parent snapshot is gone or was written again"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packstone")
    parser.add_argument("writer")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--modes", default=",".join(MODES))
    args = parser.parse_args()
    failed = False
    for mode in args.modes.split(","):
        with tempfile.TemporaryDirectory() as work:
            failed |= not run(args, mode, MODES[mode], Path(work))
    sys.exit(1 if failed else 0)


def run(args, mode, options, work):
    store, key = work / "store", work / "key"
    key.write_bytes(os.urandom(32))
    env = {**os.environ, "PACKSTONE_REPOSITORY": str(work / "repository"), "PACKSTONE_CACHE_DIR": str(work / "cache")}
    program = [args.packstone, "--key-file", str(key)]
    subprocess.run([*program, "init"], env=env, check=True, stdout=subprocess.DEVNULL)
    seen, why, wrong = collections.Counter(), collections.Counter(), []
    command = [sys.executable, args.writer, store, "--truth", work / "truth", "--datoms", "1500", "--seconds", "600",
               "--rate", "40", *options]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    writer.stdout.readline()
    for round in range(args.rounds + 1):
        quiet = round == args.rounds
        if not quiet:
            time.sleep([0.05, 0.3, 0.1][round % 3])
            writer.send_signal(signal.SIGUSR1)
            # Until the commit it is at has ended.
            time.sleep(0.25)
        full = ["--full"] if round % 4 == 3 and not quiet else ["--full-every", "0"]
        done = subprocess.run([*program, "backup", f"datahike:{store}", *full], env=env, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode != 0:
            wrong.append(f"round {round}: exit {done.returncode}\n{said}")
            break
        told = re.findall(r"branch :(\S+) since its parent: .* (\d+) left out", said)
        same = re.findall(r"branch :(\S+): the increment gives the same", said)
        reasons = re.findall(r"branch :(\S+) (?:is read from its beginning|could not be compared): (.*)", said)
        seen["told"] += len(told)
        seen["compared, the same"] += len(same)
        seen["nodes left out"] += sum(int(left_out) for _, left_out in told if not quiet)
        why.update(re.sub(r"[0-9a-f]{8}-[-0-9a-f]+", "ID", reason) for _, reason in reasons)
        branches = [branch for branch, _ in told]
        if round and (branches + [branch for branch, _ in reasons]).count("db") != 1:
            wrong.append(f"round {round}: neither told nor a reason why not\n{said}")
        if same != (branches if full == ["--full"] else []):
            wrong.append(f"round {round}: told {branches}, compared {same}\n{said}")
        if quiet and ("db" not in branches or re.search(r" [1-9]\d* facts changed", said)):
            wrong.append(f"nothing has changed, and yet:\n{said}")
        if round < args.rounds - 1:
            writer.send_signal(signal.SIGUSR1)
    writer.kill()
    writer.wait()
    wrong += judge(mode, args.rounds, seen, why)
    print(f"{mode}: {dict(seen)}; {dict(why)}", flush=True)
    for what in wrong:
        print(f"{mode}: FAILED: {what}", flush=True)
    return not wrong


def judge(mode, rounds, seen, why):
    """What is too little of it all."""
    if mode in VANISHING:
        least, may = 1, {VANISHED}
    else:
        least, may = rounds, set()
    if seen["told"] < least:
        yield f"told {seen['told']} times, not {least}"
    if mode not in VANISHING and seen["compared, the same"] < rounds // 4:
        yield f"compared {seen['compared, the same']} times of {rounds}"
    # With 512 to a node there may be one leaf, or two that both change.
    if "--branching" in MODES[mode] and mode not in VANISHING and not seen["nodes left out"]:
        yield "every increment read every node"
    yield from (f"{count} times: {reason}" for reason, count in why.items() if reason not in may)


if __name__ == "__main__":
    main()
