#!/usr/bin/env python3
"""A bad network between the program and a real S3 server: runs end complete, or cleanly and can be run again.

    faults.py PROGRAM [--rounds 20] [--seed N] [--every 50] [--latency 40] [--jobs 3]
    faults.py PROGRAM --kill [--rounds 3]
    faults.py PROGRAM --full

The first form puts a fault proxy (FAULTPROXY_BIN, built from tests/services/faultproxy) before the server that SVC_S3_*
name (tests/services/services.sh). A round is init, backup, changed backup, forget, prune, restore, with one fault in
`--every` requests. Then, without faults, `check --read-data` must pass and every snapshot that was acknowledged and not
forgotten must restore to what was backed up. --kill kills a server of its own in mid-backup and starts it again; --full
fills one on a small tmpfs (needs root).
"""

import argparse
import collections
import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVICES = HERE / "services" / "services.sh"
PROXY = os.environ.get("FAULTPROXY_BIN", str(HERE / "services/faultproxy/target/release/faultproxy"))
RUN_OFFSET = int(os.environ.get("SVC_OFFSET", "1700"))
MIB = 1 << 20


class Broken(Exception):
    """Something that must never happen."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """An S3 server, as seen through `endpoint`."""

    def __init__(self, variables):
        self.endpoint = variables["SVC_S3_ENDPOINT"]
        self.bucket = variables["SVC_S3_BUCKET"]
        self.variables = {
            "AWS_ACCESS_KEY_ID": variables["SVC_S3_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": variables["SVC_S3_SECRET_ACCESS_KEY"],
            "AWS_REGION": variables.get("SVC_S3_REGION", "us-east-1"),
        }


class Proxy:
    """A fault proxy before a server; the same seed gives the same faults for the same requests."""

    def __init__(self, server, seed, latency):
        self.port, self.control = free_port(), free_port()
        target = server.endpoint.removeprefix("http://")
        command = [PROXY, "--listen", str(self.port), "--target", target, "--ctl", str(self.control), "--seed", str(seed)]
        self.process = subprocess.Popen(command)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.latency = latency
        for _ in range(100):
            try:
                self.ask("/stats")
                return
            except OSError:
                time.sleep(0.05)
        raise Broken("the fault proxy does not start")

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}{path}", timeout=10) as answer:
            return answer.read().decode()

    def make_faulty(self, rng, every):
        rules = [
            dict(fault="e500"),
            dict(fault="e503"),
            dict(fault="e429"),
            dict(fault="rst"),
            dict(fault="lost_ack", method="PUT"),
            dict(fault="lost_ack"),
            dict(fault="dup", method="PUT"),
            dict(fault="dup", method="POST"),
            dict(fault="stall", ms=rng.choice([200, 600, 1500])),
            dict(fault="rst_body", method="PUT", after=rng.choice([0, 100, 5_000, 1_000_000])),
            dict(fault="cut_resp", method="GET", after=rng.choice([0, 1, 100, 3_000, 100_000])),
            dict(fault="short_resp", method="GET", after=rng.choice([0, 1, 100, 3_000, 100_000])),
            dict(fault="corrupt_resp", method="GET", path="/packs/", after=rng.choice([0, 50, 2_000, 70_000])),
        ]
        self.ask(f"/set?latency_ms={self.latency}&jitter_ms={self.latency // 4}")
        for rule in rules:
            # A rule for one method sees about half of the requests, or fewer.
            probability = 1.2 * (2 if "method" in rule else 1) / (every * len(rules))
            pairs = {**rule, "prob": f"{probability:.6f}"}
            self.ask("/rule?" + "&".join(f"{name}={value}" for name, value in pairs.items()))

    def stats(self):
        text = self.ask("/stats")
        requests = int(re.search(r"reqs=(\d+)", text)[1])
        injected = re.search(r"injected=\{(.*?)\}", text)[1]
        return requests, {name: int(n) for name, n in re.findall(r'"(\w+)": (\d+)', injected)}

    def stop(self):
        self.process.kill()
        self.process.wait()


class Program:
    """The program on one repository, through a proxy or straight."""

    def __init__(self, args, server, prefix, folder):
        self.args, self.server, self.folder = args, server, folder
        self.location = f"s3://{server.bucket}/{prefix}"
        self.peak = 0
        (folder / "key").write_bytes(b"a key file of a test has at least 32 bytes")

    def run(self, endpoint, *command, wait="50ms", retries=8):
        options = ["--key-file", self.folder / "key", "--cache-dir", self.folder / "cache", "--json", "--no-progress"]
        waits = ["--retries", str(retries), "--retry-first-wait", wait, "--retry-max-wait", "2s"]
        line = [self.args.program, "-r", self.location, *map(str, options), *waits, *map(str, command)]
        environment = {**os.environ, **self.server.variables, "AWS_ENDPOINT_URL": endpoint}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(line, stdout=out, stderr=err, env=environment)
            timer = threading.Timer(300, child.kill)
            timer.start()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            timer.cancel()
            self.peak = max(self.peak, usage.ru_maxrss * 1024)
            out.seek(0), err.seek(0)
            return Ran(command, child.returncode, out.read().decode(), err.read().decode())


class Ran:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def messages(self, text, kind):
        for line in text.splitlines():
            if line.startswith("{"):
                message = json.loads(line)
                if message.get("message_type") == kind:
                    yield message

    def is_clean(self):
        """Not a panic, a signal or silence: an exit code with its reason."""
        return 0 < self.code < 101 and any(self.messages(self.err, "exit_error"))

    def repeated(self):
        return sum(message["repeated"] + message["wrong_answers"] for message in self.messages(self.err, "trouble"))

    def snapshot(self):
        return next(self.messages(self.out, "summary"))["snapshot_id"]

    def __str__(self):
        return f"{' '.join(map(str, self.command))}: exit {self.code}\n{self.out[-2000:]}\n{self.err[-3000:]}"


def write_tree(folder, rng, large):
    (folder / "a" / "b").mkdir(parents=True)
    for i in range(rng.randint(20, 60)):
        text = "".join(rng.choice("etaoin shrdlu\n") for _ in range(rng.randint(10, 800)))
        (folder / rng.choice(["a", "a/b", "."]) / f"text{i}").write_text(text)
    for i in range(rng.randint(1, 3)):
        (folder / "a" / f"random{i}").write_bytes(rng.randbytes(rng.randint(100_000, 2 * MIB)))
    if large:
        (folder / "large").write_bytes(rng.randbytes(rng.randint(18, 24) * MIB))


def change_tree(folder, rng):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "large")
    for path in rng.sample(files, max(1, len(files) // 5)):
        if rng.random() < 0.3:
            path.unlink()
        else:
            path.write_bytes(rng.randbytes(rng.randint(1, 300_000)))
    (folder / "a" / "added").write_bytes(rng.randbytes(rng.randint(1, MIB)))


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def compare(program, endpoint, snapshot, source, expected, target):
    """Restores and compares; the snapshot holds the absolute path."""
    shutil.rmtree(target, ignore_errors=True)
    ran = program.run(endpoint, "restore", f"{snapshot}:{source}", "--target", target)
    if ran.code:
        raise Broken(f"an acknowledged snapshot does not restore: {ran}")
    if content(target) != expected:
        raise Broken(f"{snapshot} was restored as something else")


def one_round(args, server, number):
    rng = random.Random(args.seed * 1_000_003 + number)
    folder = Path(tempfile.mkdtemp(prefix="packstone-faults-"))
    prefix = f"faults-{os.getpid()}-{args.seed}/{number}"
    program = Program(args, server, prefix, folder)
    proxy = Proxy(server, args.seed * 7919 + number, args.latency)
    began = time.monotonic()
    result = dict(number=number, failed=[], repeated=0, runs=0)
    try:
        source = folder / "source"
        source.mkdir()
        write_tree(source, rng, large=number % 5 == 0)
        proxy.make_faulty(rng, args.every)

        def step(*command, done=lambda ran: False):
            """Until it ends well: a run that fails must do so cleanly, and go on when run again."""
            for attempt in range(5):
                before = time.monotonic()
                ran = program.run(proxy.endpoint, *command)
                result["runs"] += 1
                if args.verbose:
                    took = time.monotonic() - before
                    print(f"round {number}: {took:.1f} s, exit {ran.code}, {proxy.stats()[0]} requests: {command[0]}", flush=True)
                result["repeated"] += ran.repeated()
                if ran.code == 0 or (attempt and done(ran)):
                    return ran
                if not ran.is_clean():
                    raise Broken(f"no clean end: {ran}")
                result["failed"].append(f"{command[0]}: exit {ran.code}: {next(ran.messages(ran.err, 'exit_error'))['message'][:200]}")
            raise Broken(f"does not go on when run again: {ran}")

        def backup():
            snapshot = step("backup", source).snapshot()
            return snapshot, content(source)

        # An init whose failure came after its effect finds the repository there.
        step("init", done=lambda ran: "already" in ran.err)
        kept = []
        first = backup()
        change_tree(source, rng)
        kept.append(backup())
        forgotten = rng.random() < 0.7
        if forgotten:
            step("forget", first[0])
        else:
            kept.append(first)
        step("prune", "--max-unused", "0")
        target = folder / "restored"
        snapshot, expected = kept[0]
        step("restore", f"{snapshot}:{source}", "--target", target)
        if content(target) != expected:
            raise Broken(f"{snapshot} was restored as something else through faults")
        change_tree(source, rng)
        kept.append(backup())
        step("check", "--read-data")
        requests, faults = proxy.stats()
        result.update(requests=requests, faults=faults)
        # Without faults, and without what the cache knows.
        shutil.rmtree(folder / "cache", ignore_errors=True)
        ran = program.run(server.endpoint, "check", "--read-data")
        if ran.code:
            raise Broken(f"check: {ran}")
        for snapshot, expected in kept:
            compare(program, server.endpoint, snapshot, source, expected, folder / "compared")
        result.update(seconds=time.monotonic() - began, peak=program.peak)
        return result
    except Broken as broken:
        raise Broken(f"round {number} of seed {args.seed}: {broken}") from None
    finally:
        proxy.stop()
        shutil.rmtree(folder, ignore_errors=True)


def rounds(args, server):
    counts, failures, results, broken = collections.Counter(), [], [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for future in [pool.submit(one_round, args, server, args.first + n) for n in range(args.rounds)]:
            try:
                result = future.result()
            except Broken as error:
                broken.append(str(error))
                print(error, flush=True)
                continue
            results.append(result)
            if args.verbose:
                print(f"round {result['number']}: {result['seconds']:.0f} s, {result['faults']} {result['failed']}", flush=True)
            counts.update(result["faults"])
            failures += [f"round {result['number']}: {failure}" for failure in result["failed"]]
    complete = sum(not result["failed"] for result in results)
    total = lambda name: sum(result[name] for result in results)
    faults = sum(counts.values())
    print(f"seed {args.seed}: {args.rounds} rounds, one fault in {total('requests') / max(faults, 1):.0f} requests")
    print(f"| rounds complete | ended and resumed | broken | runs | requests | faults | repeated | peak RSS |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    peak = max((result["peak"] for result in results), default=0)
    print(
        f"| {complete} | {len(results) - complete} | {len(broken)} | {total('runs')} | {total('requests')} | {faults} "
        f"| {total('repeated')} | {peak / MIB:.0f} MiB |"
    )
    print("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    print(f"seconds a round: {total('seconds') / max(len(results), 1):.1f}")
    for failure in failures:
        print(failure)
    if broken:
        return f"{len(broken)} rounds broken"
    if peak > args.memory_limit * MIB:
        return f"peak RSS {peak / MIB:.0f} MiB"
    if complete < 0.95 * args.rounds:
        return f"only {complete} of {args.rounds} rounds complete"


class OwnServer:
    """A SeaweedFS of our own, which may be killed."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "SVC_DIR": str(folder)}
        self.environment.setdefault("SVC_TOOLS", str(Path(os.environ.get("SVC_DIR", "/tmp/svc")) / "tools"))
        (folder / "s3").mkdir(parents=True, exist_ok=True)

    def services(self, *command):
        line = ["bash", str(SERVICES), "-o", str(RUN_OFFSET), *command]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise Broken(f"{' '.join(line)}: {done.stderr}")
        return done.stdout

    def start(self):
        text = self.services("start", "s3")
        return Server(dict(re.findall(r"(SVC_S3_\w+)='?([^' \n]*)'?", text)))

    def stored(self):
        """Bytes in its volumes."""
        return sum(path.stat().st_size for path in (self.folder / "s3").rglob("*.dat"))

    def kill(self):
        pid = int((self.folder / "run" / "s3.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self):
        self.services("stop", "s3")


def until_done(program, endpoint, *command, before_again=lambda: None, **options):
    """How often a command had to be run again after a clean end, and the run that ended well."""
    for attempt in range(3):
        ran = program.run(endpoint, *command, **options)
        if ran.code == 0:
            return attempt, ran
        if not ran.is_clean():
            raise Broken(f"no clean end: {ran}")
        print(f"  ended cleanly: exit {ran.code}: {next(ran.messages(ran.err, 'exit_error'))['message'][:160]}", flush=True)
        before_again()
    raise Broken(f"does not go on when run again: {ran}")


def killed(args):
    folder = Path(tempfile.mkdtemp(prefix="packstone-killed-"))
    own = OwnServer(folder / "server")
    try:
        server = own.start()
        for number in range(args.rounds):
            rng = random.Random(args.seed + number)
            here = folder / str(number)
            source = here / "source"
            source.mkdir(parents=True)
            write_tree(source, rng, large=True)
            (source / "second").write_bytes(rng.randbytes(20 * MIB))
            program = Program(args, server, f"killed-{number}", here)
            if program.run(server.endpoint, "init").code:
                raise Broken("init")
            away = rng.uniform(0, 6)

            def kill_and_start(after):
                """Once so many bytes have got there: in the middle, however fast the machine is."""
                before = own.stored()
                while own.stored() < before + after:
                    time.sleep(0.02)
                own.kill()
                time.sleep(away)
                own.services("start", "s3")

            killer = threading.Thread(target=kill_and_start, args=(rng.randint(1, 16) * MIB,))
            killer.start()
            # Slow enough that the server is gone in the middle. Odd rounds give up before it is back.
            patience = dict(wait="500ms", retries=8) if number % 2 == 0 else dict(wait="50ms", retries=2)
            command = ["--limit-upload", "20MiB", "backup", source]
            again, ran = until_done(program, server.endpoint, *command, before_again=killer.join, **patience)
            killer.join()
            shutil.rmtree(here / "cache", ignore_errors=True)
            check = program.run(server.endpoint, "check", "--read-data")
            if check.code:
                raise Broken(str(check))
            compare(program, server.endpoint, ran.snapshot(), source, content(source), here / "restored")
            shutil.rmtree(here)
            what = f"ended cleanly {again} times, then went on" if again else f"survived, {ran.repeated()} requests repeated"
            print(f"round {number}: the server was away for {away:.1f} s and more: the backup {what}; verified", flush=True)
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)


def full(args, server):
    """A store that takes no more packs, as one at its quota says it, until space is freed."""
    folder = Path(tempfile.mkdtemp(prefix="packstone-full-"))
    proxy = Proxy(server, args.seed, 0)
    try:
        rng = random.Random(args.seed)
        source = folder / "source"
        source.mkdir()
        write_tree(source, rng, large=False)
        program = Program(args, server, f"faults-{os.getpid()}-{args.seed}/full", folder)
        if program.run(proxy.endpoint, "init").code:
            raise Broken("init")
        first = until_done(program, proxy.endpoint, "backup", source)[1].snapshot()
        before = content(source)
        (source / "second").write_bytes(rng.randbytes(20 * MIB))
        proxy.ask("/rule?fault=e507&method=PUT")
        ran = program.run(proxy.endpoint, "backup", source)
        if ran.code != 16:
            raise Broken(f"a full store gave another exit code than 16: {ran}")
        print(f"full: exit 16: {next(ran.messages(ran.err, 'exit_error'))['message'][:200]}", flush=True)
        compare(program, proxy.endpoint, first, source, before, folder / "restored")
        print("full: what was acknowledged before restores", flush=True)
        timer = threading.Timer(8, lambda: proxy.ask("/reset"))
        timer.start()
        ran = program.run(proxy.endpoint, "--wait-on-full", "2s", "backup", source)
        timer.join()
        waits = sum(message["full"] for message in ran.messages(ran.err, "trouble"))
        if ran.code or not waits:
            raise Broken(f"after space was freed: {ran}")
        shutil.rmtree(folder / "cache", ignore_errors=True)
        check = program.run(server.endpoint, "check", "--read-data")
        if check.code:
            raise Broken(str(check))
        compare(program, server.endpoint, ran.snapshot(), source, content(source), folder / "restored")
        print(f"full: the same command with --wait-on-full waited {waits} times and finished when there was space; verified")
    finally:
        proxy.stop()
        shutil.rmtree(folder, ignore_errors=True)


def clean(server, prefix):
    """Removes what the rounds left in the bucket, where the server's own folder can be asked to."""
    filer = os.environ.get("SVC_S3_FILER")
    if filer:
        request = urllib.request.Request(f"{filer}/buckets/{server.bucket}/{prefix}?recursive=true", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--latency", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--memory-limit", type=int, default=512, help="MiB")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    try:
        if args.kill:
            args.rounds = args.rounds or 3
            return killed(args)
        if "SVC_S3_ENDPOINT" not in os.environ or not os.access(PROXY, os.X_OK):
            print("skipped: no SVC_S3_ENDPOINT, or no fault proxy at FAULTPROXY_BIN")
            return None
        args.rounds = args.rounds or 20
        server = Server(os.environ)
        try:
            return full(args, server) if args.full else rounds(args, server)
        finally:
            clean(server, f"faults-{os.getpid()}-{args.seed}")
    except Broken as broken:
        return str(broken)


if __name__ == "__main__":
    sys.exit(main())
