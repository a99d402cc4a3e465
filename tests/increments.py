#!/usr/bin/env python3
"""Increments of stores that a writer commits to, compared with reading everything: in every mode the writer knows.

    increments.py PACKSTONE WRITER [--rounds N]

WRITER is tests/datahike/writer.py. A round is a few commits, a pause, and an increment; every fourth round reads everything as well,
and the program compares: it exits with 3 when an increment has missed something. Says how many rounds were told from the
parent, and why the others were not.
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
    seen, why, ok = collections.Counter(), collections.Counter(), True
    command = [sys.executable, args.writer, store, "--truth", work / "truth", "--datoms", "1500", "--seconds", "600",
               "--rate", "40", *options]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    writer.stdout.readline()
    for round in range(args.rounds):
        time.sleep([0.05, 0.3, 0.1][round % 3])
        writer.send_signal(signal.SIGUSR1)
        # Until the commit it is at has ended.
        time.sleep(0.25)
        full = ["--full"] if round % 4 == 3 else ["--full-every", "0"]
        done = subprocess.run([*program, "backup", f"datahike:{store}", *full], env=env, capture_output=True, text=True)
        said = done.stdout + done.stderr
        seen["told"] += len(re.findall(r"since its parent", said))
        seen["compared, the same"] += len(re.findall(r"gives the same", said))
        for reason in re.findall(r"(?:is read from its beginning|could not be compared): (.*)", said):
            why[re.sub(r"[0-9a-f]{8}-[-0-9a-f]+", "ID", reason)] += 1
        if done.returncode != 0:
            ok = False
            print(f"{mode}: round {round}: exit {done.returncode}\n{said}")
            break
        writer.send_signal(signal.SIGUSR1)
    writer.kill()
    writer.wait()
    print(f"{mode}: {dict(seen)}; {dict(why)}", flush=True)
    return ok


if __name__ == "__main__":
    main()
