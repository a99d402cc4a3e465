#!/usr/bin/env python3
"""kill -9 at random moments of backup, forget and prune: nothing acknowledged is lost.

    kill.py PACKSTONE [--rounds 100] [--datoms 150000] [--seed N]

After every kill the repository must pass `check`, and every snapshot that a backup reported before must verify. At the
end all of them are restored and compared. Runs as long as it takes; prints what was hit.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--datoms", type=int, default=150_000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    rng = random.Random(args.seed)
    work = Path(tempfile.mkdtemp(prefix="packstone-kill-"))
    key = work / "key"
    key.write_bytes(os.urandom(32))
    base = [args.packstone, "-r", str(work / "r"), "--key-file", str(key), "--cache-dir", str(work / "cache")]

    def run(*arguments, ok=True):
        done = subprocess.run([*base, *arguments], capture_output=True, text=True)
        if ok and done.returncode:
            sys.exit(f"seed {args.seed}: {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    run("init")
    source = work / "source.edn"
    value = lambda t, e, salt: f'[{e} :item/v "{rng_hex(salt, t, e)}" {t} true]\n'

    def rng_hex(salt, t, e):
        return f"{hash((salt, t, e)) & 0xffffffffffffffff:016x}"

    def write(version):
        """A history that grows by a transaction a version, and in which a tenth of the first one is different each time."""
        with source.open("w") as out:
            for e in range(args.datoms):
                out.write(value(1, e, version if e % 10 == version % 10 else 0))
            for t in range(2, version + 3):
                for e in range(500):
                    out.write(value(t, e, 0))
            out.write(f"[1 :item/v \"x\" {version + 3} false]\n")

    def timed(*arguments):
        started = time.monotonic()
        run(*arguments)
        return time.monotonic() - started

    acknowledged = {}
    version = 0
    write(version)
    backup = ["backup", f"datoms:{source}", "--label", "kill", "--json"]
    usual = {"backup": max(timed(*backup), timed(*backup)), "forget": 0.03, "prune": timed("prune") + 0.2}
    hits = collections.Counter()
    while sum(hits.values()) < args.rounds:
        done = sum(hits.values())
        what = rng.choice(["backup", "backup", "backup", "forget", "prune", "prune"])
        copy = None
        if what == "backup":
            version += 1
            write(version)
            copy = work / f"version-{version}.edn"
            partial = rng.choice([[], ["--partial-every", "50ms"], ["--partial-every", "1ms"]])
            command = [*backup, *partial]
        elif what == "forget":
            if len(acknowledged) < 2:
                continue
            gone = rng.choice(list(acknowledged))
            command = ["forget", gone]
        else:
            command = ["prune", "--max-unused", rng.choice(["0%", "5%"])]
        delay = rng.uniform(0, usual[what] * 1.5)
        process = subprocess.Popen([*base, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=delay)
            killed = False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            killed = True
        if not killed and process.returncode:
            sys.exit(f"seed {args.seed}: {' '.join(command)}: exit {process.returncode}\n{out}\n{err}")
        # So that about every second one gets to its end, and the kills fall on every phase.
        usual[what] = min(10, max(0.005, usual[what] * (1.25 if killed else 0.8)))
        hits[f"{what} {'killed' if killed else 'finished'}"] += 1
        if what == "backup":
            for line in out.splitlines():
                message = json.loads(line) if line.startswith("{") else {}
                if message.get("message_type") == "summary" and message.get("snapshot_id"):
                    acknowledged[message["snapshot_id"]] = copy
                    shutil.copy(source, copy)
        if what == "forget":
            # Killed or not, it may have happened: it is no longer promised.
            del acknowledged[gone]
        checked = run("check", ok=False)
        if checked.returncode:
            sys.exit(f"seed {args.seed}, round {done}, after {what}: check says\n{checked.stdout}\n{checked.stderr}")
        for snapshot in acknowledged:
            run("verify", snapshot)
    run("prune")
    run("check", "--read-data")
    for snapshot, copy in acknowledged.items():
        run("restore", snapshot, "--to", f"datoms:{work}/out.edn", "--overwrite")
        if sorted((work / "out.edn").read_text().splitlines()) != sorted(copy.read_text().splitlines()):
            sys.exit(f"seed {args.seed}: snapshot {snapshot} does not restore what was backed up")
    print(f"{sum(hits.values())} rounds: {dict(sorted(hits.items()))}; {len(acknowledged)} snapshots restored and equal")
    shutil.rmtree(work)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, PYTHONHASHSEED="0"))
    main()
