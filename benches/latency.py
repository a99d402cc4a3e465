#!/usr/bin/env python3
"""packstone, restic and rustic on the same S3 server, far away: a proxy adds latency to every request.

    latency.py PACKSTONE [--latency 40] [--scale 0.2] [--rounds 1] [--programs packstone,restic,rustic] [--steps ...]
               [--require first=0.6,unchanged=0.5,restore=0.6] [--work DIR] [--proxy BINARY] [--json FILE] [--blobs N]

The server is that of tests/services (`services.sh start s3`, whose `SVC_S3_*` must be set), the proxy is
tests/services/faultproxy. Every step is run by all programs before the next one, each with a cache of its own and the same
source tree (corpora.py), in an order that rotates from round to round. Requests and bytes are those the proxy saw. Steps
whose name ends with "cold" begin with an empty cache. Every restore is compared with its source. Prints a Markdown table;
the last column is our wall time as part of the better peer's. Exits with 1 when a step of ours failed, a restore of ours
differs, or one of --require is not met.

With --blobs N the tree is N files of 2 KiB that nobody has seen before, which no program stores in less than one blob each.
They are backed up once without latency; what is measured is a backup of one small file by a program with an empty cache,
which has to find out what is in the repository (step "open-cold"), and the same again with the cache it then has ("open").
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benches" / "peers"))

import compare
import corpora
import measure

PASSWORD = "correct-horse-battery"
STEPS = {
    "first": "first backup",
    "unchanged": "unchanged backup",
    "changed": "changed backup",
    "ls": "ls of everything",
    "ls-cold": "ls, empty cache",
    "restore": "restore",
    "restore-cold": "restore, empty cache",
    "check": "check",
    "check-data": "check with data",
}
OPENING = {"open-cold": "one file more, empty cache", "open": "one file more"}


class Proxy:
    """The latency between the programs and the server."""

    def __init__(self, binary, port, latency_ms):
        target = os.environ["SVC_S3_ENDPOINT"].removeprefix("http://")
        self.control, self.endpoint = f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}"
        argv = [binary, "--listen", str(port), "--target", target, "--ctl", str(port + 1)]
        self.process = subprocess.Popen(argv)
        for _ in range(100):
            try:
                self.ask(f"/set?latency_ms={latency_ms}")
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the proxy does not start")

    def ask(self, what):
        with urllib.request.urlopen(self.control + what, timeout=10) as answer:
            return answer.read().decode()

    def seen(self):
        """Requests, bytes up, bytes down."""
        return [int(re.search(rf"{name}=(\d+)", self.ask("/stats")).group(1)) for name in ("reqs", "up", "down")]


class Program:
    def __init__(self, path, folder, endpoint, prefix):
        self.path, self.folder, self.endpoint = path, folder, endpoint
        self.bucket, self.prefix = os.environ["SVC_S3_BUCKET"], f"{prefix}/{self.name}"
        self.cache, self.restored = folder / "cache", folder / "restored"
        folder.mkdir(parents=True)

    def environment(self):
        return {}

    def common(self):
        return {"AWS_ACCESS_KEY_ID": os.environ["SVC_S3_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": os.environ["SVC_S3_SECRET_ACCESS_KEY"],
                "AWS_REGION": os.environ["SVC_S3_REGION"], "AWS_DEFAULT_REGION": os.environ["SVC_S3_REGION"]}


class Packstone(Program):
    name = "packstone"

    def environment(self):
        return {"PACKSTONE_REPOSITORY": f"s3://{self.bucket}/{self.prefix}", "AWS_ENDPOINT_URL": self.endpoint,
                "PACKSTONE_PASSWORD": PASSWORD, "PACKSTONE_CACHE_DIR": str(self.cache)}

    def command(self, step, source):
        return {
            "init": ["-q", "init"],
            "backup": ["-q", "backup", source],
            "ls": ["-q", "ls", "latest"],
            "restore": ["-q", "restore", f"latest:{source}", "--to", self.restored],
            "check": ["-q", "check"],
            "check-data": ["-q", "check", "--read-data"],
        }[step]


class Restic(Program):
    name = "restic"

    def environment(self):
        return {"RESTIC_REPOSITORY": f"s3:{self.endpoint}/{self.bucket}/{self.prefix}", "RESTIC_PASSWORD": PASSWORD,
                "RESTIC_CACHE_DIR": str(self.cache)}

    def command(self, step, source):
        return {
            "init": ["-q", "init"],
            "backup": ["-q", "backup", source],
            "ls": ["-q", "ls", "latest"],
            "restore": ["-q", "restore", "latest", "--target", self.restored],
            "check": ["-q", "check"],
            "check-data": ["-q", "check", "--read-data"],
        }[step]


class Rustic(Program):
    name = "rustic"

    def environment(self):
        options = {"bucket": self.bucket, "root": f"/{self.prefix}", "endpoint": self.endpoint,
                   "region": os.environ["SVC_S3_REGION"], "access_key_id": os.environ["SVC_S3_ACCESS_KEY_ID"],
                   "secret_access_key": os.environ["SVC_S3_SECRET_ACCESS_KEY"]}
        profile = self.folder / "s3.toml"
        lines = [f'{key} = "{value}"' for key, value in options.items()]
        profile.write_text("[repository.options]\n" + "\n".join(lines) + "\n")
        return {"RUSTIC_USE_PROFILE": str(profile.with_suffix("")), "RUSTIC_REPOSITORY": "opendal:s3",
                "RUSTIC_PASSWORD": PASSWORD, "RUSTIC_CACHE_DIR": str(self.cache), "RUSTIC_NO_PROGRESS": "true",
                "RUSTIC_LOG_LEVEL": "error"}

    def command(self, step, source):
        return {
            "init": ["init"],
            "backup": ["backup", source],
            "ls": ["ls", "latest"],
            "restore": ["restore", f"latest:{source}", self.restored],
            "check": ["check"],
            "check-data": ["check", "--read-data"],
        }[step]


PROGRAMS = {"packstone": Packstone, "restic": Restic, "rustic": Rustic}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packstone")
    parser.add_argument("--latency", type=int, default=40, help="milliseconds for every request")
    parser.add_argument("--scale", type=float, default=0.2, help="of the source tree: 1 is 1250 MiB")
    parser.add_argument("--rounds", type=int, default=1, help="the median of so many counts")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--require", default="", help="STEP=RATIO,...: the most of the better peer's wall time")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "latency")
    parser.add_argument("--corpus", type=Path, help="folder for the source tree, which is kept [default: in --work]")
    parser.add_argument("--proxy", default="faultproxy", help="the binary of tests/services/faultproxy")
    parser.add_argument("--port", type=int, default=19540, help="of the proxy, with the next one for its control")
    parser.add_argument("--rustic", default="rustic")
    parser.add_argument("--json", type=Path, help="keep the results here")
    parser.add_argument("--blobs", type=int, help="files of 2 KiB instead of the source tree; measures opening")
    args = parser.parse_args()
    if "SVC_S3_ENDPOINT" not in os.environ:
        sys.exit("no server: eval \"$(tests/services/services.sh start s3)\"")
    steps = [step for step in STEPS if step in args.steps.split(",")]
    args.work = args.work.resolve()
    if args.blobs:
        return opening(args)
    tree = corpora.make((args.corpus or args.work).resolve(), "A", args.scale)
    proxy = Proxy(args.proxy, args.port, args.latency)
    results, ok = {}, True
    try:
        for round in range(args.rounds):
            ok &= run_round(args, proxy, tree, steps, round, results)
    finally:
        proxy.process.terminate()
        proxy.process.wait()
    count, total = corpora.size(tree / "live")
    print(f"{args.latency} ms a request; {count} files, {total >> 20} MiB; median of {args.rounds}\n")
    ratios = table(steps, results)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    for wanted in filter(None, args.require.split(",")):
        step, most = wanted.split("=")
        met = ratios.get(step) is not None and ratios[step] <= float(most)
        print(f"{STEPS[step]} at most {most}: {'met' if met else 'not met'}")
        ok &= met
    sys.exit(0 if ok else 1)


def run_round(args, proxy, tree, steps, round, results):
    corpora.revert(tree)
    source, ok = str(tree / "live"), True
    shutil.rmtree(args.work / "run", ignore_errors=True)
    paths = {"packstone": os.path.abspath(args.packstone), "restic": "restic", "rustic": args.rustic}
    prefix = f"latency-{os.getpid()}-{round}"
    names = args.programs.split(",")
    programs = [PROGRAMS[name](paths[name], args.work / "run" / name, proxy.endpoint, prefix) for name in names]
    corpora.warm(source)
    try:
        for step in ["init", *steps]:
            if step == "changed":
                corpora.mutate(tree)
            turn = round % len(programs)
            for program in programs[turn:] + programs[:turn]:
                program.restored = program.folder / f"restored-{step}"
                took = run_step(proxy, program, step, source)
                ours = program.name == "packstone"
                if took["code"] != 0:
                    print(f"{program.name}: {step} failed with {took['code']}, see {program.folder}/errors", file=sys.stderr)
                    ok &= not ours
                if step.startswith("restore"):
                    nested = program.restored / source.strip("/")
                    differences = compare.differences(source, nested if nested.is_dir() else program.restored)[1]
                    if differences:
                        print(f"{program.name}: {step} differs: {differences}", file=sys.stderr)
                        ok &= not ours
                    # Nothing is removed before the end: a file system that is busy with that makes files many times slower.
                if step != "init":
                    results.setdefault(step, {}).setdefault(program.name, []).append(took)
                report(program, step, took)
    finally:
        empty(prefix)
        shutil.rmtree(args.work / "run", ignore_errors=not ok)
    return ok


def opening(args):
    """Opens a repository of --blobs blobs."""
    shutil.rmtree(args.work / "run", ignore_errors=True)
    many = args.work / "many"
    for n in range(args.blobs):
        if n % 1000 == 0:
            folder = many / f"{n // 1000:04}"
            folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{n}").exists():
            (folder / f"{n}").write_bytes(os.urandom(2048))
    proxy, prefix = Proxy(args.proxy, args.port, 0), f"opening-{os.getpid()}"
    paths = {"packstone": os.path.abspath(args.packstone), "restic": "restic", "rustic": args.rustic}
    programs = [PROGRAMS[name](paths[name], args.work / "run" / name, proxy.endpoint, prefix)
                for name in args.programs.split(",")]
    results, ok = {}, True
    try:
        for program in programs:
            for step, source in (("init", ""), ("first", str(many))):
                took = run_step(proxy, program, step, source)
                report(program, step, took)
                ok &= took["code"] == 0
        proxy.ask(f"/set?latency_ms={args.latency}")
        for round in range(args.rounds):
            turn = round % len(programs)
            for step in OPENING:
                one = args.work / "run" / f"{step}-{round}"
                one.mkdir()
                (one / "file").write_bytes(os.urandom(2048))
                for program in programs[turn:] + programs[:turn]:
                    took = run_step(proxy, program, step, str(one))
                    report(program, step, took)
                    ok &= took["code"] == 0
                    results.setdefault(step, {}).setdefault(program.name, []).append(took)
    finally:
        proxy.process.terminate()
        proxy.process.wait()
        empty(prefix)
    print(f"{args.latency} ms a request; {args.blobs} files of 2 KiB; median of {args.rounds}\n")
    STEPS.update(OPENING)
    table(list(OPENING), results)
    sys.exit(0 if ok else 1)


def report(program, step, took):
    print(f"  {program.name:10} {step:13} {took['wall']:7.2f} s {took['cpu']:7.2f} s CPU {took['requests']:6} requests"
          f" {took['up'] >> 10:8} KiB up {took['down'] >> 10:8} KiB down {took['rss_kib'] >> 10:5} MiB", file=sys.stderr)


def run_step(proxy, program, step, source):
    environment = dict(os.environ) | program.common() | program.environment()
    if step.endswith("-cold"):
        shutil.rmtree(program.cache, ignore_errors=True)
    name = "backup" if step in ("first", "unchanged", "changed", *OPENING) else step.removesuffix("-cold")
    argv = [program.path, *map(str, program.command(name, source))]
    os.sync()
    before = proxy.seen()
    with open(program.folder / "errors", "ab") as errors:
        took = measure.run(argv, environment, errors=errors)
    after = proxy.seen()
    took["requests"], took["up"], took["down"] = (b - a for a, b in zip(before, after))
    return took


def empty(prefix):
    """Removes what the round has put into the bucket."""
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    rclone = shutil.which("rclone")
    if rclone:
        remote = (f":s3,provider=Other,endpoint='{os.environ['SVC_S3_ENDPOINT']}',"
                  f"access_key_id={os.environ['SVC_S3_ACCESS_KEY_ID']},secret_access_key={os.environ['SVC_S3_SECRET_ACCESS_KEY']}:")
        subprocess.run([rclone, "-q", "purge", f"{remote}{os.environ['SVC_S3_BUCKET']}/{prefix}"], env=environment)
    else:
        print(f"objects below {prefix}/ stay in the bucket: no rclone to remove them", file=sys.stderr)


def table(steps, results):
    names = [name for name in PROGRAMS if any(name in results[step] for step in steps)]
    print("| | " + " | ".join(f"{name}: wall (CPU) s, requests, MiB up/down" for name in names) + " | ratio |")
    print("|---" * (len(names) + 2) + "|")
    ratios = {}
    for step in steps:
        cells, walls = [], {}
        for name in names:
            runs = [run for run in results[step].get(name, []) if run["code"] == 0]
            if not runs:
                cells.append("failed")
                continue
            median = lambda key: statistics.median(run[key] for run in runs)
            walls[name] = median("wall")
            cells.append(f"{walls[name]:.2f} ({median('cpu'):.2f}), {median('requests'):.0f}, "
                         f"{median('up') / 2**20:.1f}/{median('down') / 2**20:.1f}")
        peers = [wall for name, wall in walls.items() if name != "packstone"]
        if peers and "packstone" in walls:
            ratios[step] = walls["packstone"] / min(peers)
        cells.append(f"{ratios[step]:.2f}" if step in ratios else "")
        print(f"| {STEPS[step]} | " + " | ".join(cells) + " |")
    return ratios


if __name__ == "__main__":
    main()
