#!/usr/bin/env python3
"""A Datahike database followed while it is written to: how long until a transaction is durable, and what it costs.

    datahike_sync.py PACKSTONE [--writer tests/datahike/writer.py] [--rate 20] [--seconds 60] [--kill] [--work DIR]

`writer.py` commits at a rate to a store; `packstone sync` follows it into a local repository. The lag of a transaction is the
time from the rename of the head (inotify) to the line that says it is durable. Prints median and 99th percentile, bytes a
transaction, CPU and memory; then restores `latest` and compares it with the writer's own truth. With --kill the process is
killed (SIGKILL) at the end, so that `latest` is read from segments alone; without, it folds. Exits with 1 when a
promise is not kept: median below 100 ms, 99th percentile below 500 ms, nothing acknowledged lost.
"""

import argparse
import ctypes
import ctypes.util
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
IN_MOVED_TO = 0x80
LIBC = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


class Renames(threading.Thread):
    """When the blob of this name was renamed into place, each time."""

    def __init__(self, folder, name):
        super().__init__(daemon=True)
        self.name_of_head, self.times = name.encode(), []
        self.fd = LIBC.inotify_init()
        if LIBC.inotify_add_watch(self.fd, os.fsencode(str(folder)), IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def run(self):
        while True:
            events, now, at = os.read(self.fd, 1 << 16), time.monotonic(), 0
            while at < len(events):
                _, _, _, length = struct.unpack_from("iIII", events, at)
                if events[at + 16:at + 16 + length].rstrip(b"\0") == self.name_of_head:
                    self.times.append(now)
                at += 16 + length


class Follower:
    """`packstone sync`, its durable lines with the time they came."""

    def __init__(self, packstone, repository, environment, source):
        arguments = [packstone, "-r", str(repository), "--json", "sync", source, "--label", "bench", "--host", "bench"]
        self.process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        self.durable, self.folds, self.following = [], 0, threading.Event()
        self.most_rss = self.most_anonymous = 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        threading.Thread(target=self.sample, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            now, message = time.monotonic(), json.loads(line)
            kind = message["message_type"]
            if kind == "durable":
                self.durable.append((message["t"], now, message))
            self.folds += kind == "folded"
            if kind == "following":
                self.following.set()

    def sample(self):
        while self.process.poll() is None:
            try:
                status = Path(f"/proc/{self.process.pid}/status").read_text()
            except OSError:
                return
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            self.most_rss = max(self.most_rss, int(fields.get("VmHWM", "0 kB").split()[0]))
            self.most_anonymous = max(self.most_anonymous, int(fields.get("RssAnon", "0 kB").split()[0]))
            time.sleep(0.5)

    def cpu(self):
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def head_name(tools):
    sys.path.insert(0, str(tools))
    from fress import Kw
    from store import file_name
    return file_name(Kw("db"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("packstone")
    parser.add_argument("--writer", default=str(HERE.parent / "tests/datahike/writer.py"))
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--datoms", type=int, default=20000)
    parser.add_argument("--operations", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--work")
    args = parser.parse_args()
    packstone = str(Path(args.packstone).resolve())
    work = Path(args.work or tempfile.mkdtemp(prefix="sync-bench-"))
    store, truth_file, repository, key = work / "store", work / "truth.jsonl", work / "repository", work / "key"
    key.write_text("a key file has at least 32 bytes in it")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PACKSTONE_")}
    environment |= {"PACKSTONE_KEY_FILE": str(key), "PACKSTONE_CACHE_DIR": str(work / "cache")}
    tools = Path(args.writer).resolve().parent
    subprocess.run([packstone, "-r", str(repository), "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
    writer = subprocess.Popen(
        [sys.executable, args.writer, str(store), "--truth", str(truth_file), "--rate", str(args.rate), "--datoms",
         str(args.datoms), "--operations", str(args.operations)], stdout=subprocess.PIPE, text=True)
    writer.stdout.readline()
    follower = Follower(packstone, repository, environment, f"datahike:{store}")
    if not follower.following.wait(120):
        sys.exit("it does not follow")
    head = head_name(tools)
    renames = Renames(store, head)
    lines = lambda: [entry for entry in map(json.loads, truth_file.read_text().splitlines()) if entry["branch"] == "db"]
    renames.start()
    cpu = follower.cpu()
    time.sleep(args.seconds)
    writer.terminate()
    writer.communicate(timeout=60)
    truth = lines()
    last = truth[-1]["t"]
    deadline = time.monotonic() + 20
    while (not follower.durable or follower.durable[-1][0] < last) and time.monotonic() < deadline:
        time.sleep(0.05)
    cpu = follower.cpu() - cpu
    # One rename for each of the last lines: those before were there when watching began.
    count = len(renames.times)
    lags, waiting = [], list(follower.durable)
    for entry, renamed in zip(truth[-count:], renames.times):
        while waiting and waiting[0][0] < entry["t"]:
            waiting.pop(0)
        if not waiting:
            break
        lags.append(waiting[0][1] - renamed)
    if args.kill:
        follower.process.kill()
    else:
        follower.process.send_signal(signal.SIGTERM)
    follower.process.wait(timeout=120)
    follower.reader.join(10)
    own = sorted(message["lag_ms"] for _, _, message in follower.durable)
    stored = sum(message["bytes"] for _, _, message in follower.durable)
    transactions = sum(message["transactions"] for _, _, message in follower.durable)
    median, p99 = statistics.median(lags) * 1000, sorted(lags)[int(len(lags) * 0.99)] * 1000
    print(f"transactions        {transactions} in {len(follower.durable)} segments, {len(lags)} of them timed")
    print(f"lag from the rename median {median:.1f} ms, 99th percentile {p99:.1f} ms, most {max(lags) * 1000:.1f} ms")
    print(f"lag as it says      median {statistics.median(own):.1f} ms, 99th percentile {own[int(len(own) * 0.99)]:.1f} ms")
    print(f"bytes a transaction {stored / max(transactions, 1):.0f}")
    print(f"CPU a transaction   {cpu * 1000 / max(transactions, 1):.1f} ms")
    print(f"memory              {follower.most_rss / 1024:.0f} MiB at most, {follower.most_anonymous / 1024:.0f} of it anonymous")
    restored = work / "restored.edn"
    listed = subprocess.run([packstone, "-r", str(repository), "--json", "snapshots"], env=environment, check=True, stdout=subprocess.PIPE)
    newest = json.loads(listed.stdout)[-1]
    subprocess.run([packstone, "-r", str(repository), "restore", "latest", "--history", "--to", f"datoms:{restored}"],
                   env=environment, check=True, stdout=subprocess.DEVNULL)
    import edn
    restored_lines = restored.read_bytes().split(b"\n")
    digest = edn.digest_of(line.decode("utf-8", "surrogatepass") for line in restored_lines if line)
    expected = next(entry for entry in reversed(truth) if entry["t"] <= follower.durable[-1][0])
    whole = digest == expected["history"] and follower.durable[-1][0] == last
    print(f"restored            {'as the writer wrote it' if whole else 'NOT as the writer wrote it'}, from "
          f"{'segments' if newest['status'] == 'sync' else 'a snapshot'}, up to t {follower.durable[-1][0]}")
    check = subprocess.run([packstone, "-r", str(repository), "check", "--read-data"], env=environment, stdout=subprocess.DEVNULL)
    kept = whole and check.returncode == 0 and median < 100 and p99 < 500
    if not args.work:
        shutil.rmtree(work)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
