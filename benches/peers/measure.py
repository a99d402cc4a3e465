"""Runs a command and says what it took."""

import os
import subprocess
import threading
import time
from pathlib import Path

POLL_SECONDS = 0.02
KEYS = {"VmHWM:": "highest", "VmRSS:": "resident", "RssAnon:": "anonymous"}


def run(argv, env=None, cwd=None, errors=None):
    """Wall and CPU seconds with those of children, peaks of memory in KiB, exit code, and the share of this machine's
    processors that others took meanwhile.

    Memory is looked at every 20 ms and added up over the processes of the command; `rss_kib` is what is resident,
    mapped files included, `anonymous_kib` without them.
    """
    busy, started = busy_seconds(), time.monotonic()
    process = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
    peaks, ended = Peaks(process.pid), threading.Event()
    watcher = threading.Thread(target=peaks.watch, args=(ended,))
    watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    except BaseException:
        process.kill()
        raise
    finally:
        ended.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    foreign = max(busy_seconds() - busy - cpu, 0) / (wall * os.cpu_count())
    return {"wall": wall, "cpu": cpu, "rss_kib": peaks.rss, "anonymous_kib": peaks.anonymous, "code": process.returncode,
            "foreign": foreign}


class Peaks:
    """The most memory that a process and its descendants were seen with."""

    def __init__(self, pid):
        self.pid, self.rss, self.anonymous = pid, 0, 0

    def watch(self, ended):
        looks, family = 0, [self.pid]
        # Often at first: those that end at once would not be seen at all otherwise.
        while not ended.wait(POLL_SECONDS if looks > 5 else 0.003):
            seen = [memory(pid) for pid in family]
            self.rss = max([self.rss, sum(s["resident"] for s in seen), *(s["highest"] for s in seen)])
            self.anonymous = max(self.anonymous, sum(s["anonymous"] for s in seen))
            looks += 1
            if looks % 10 == 3:
                family = descendants(self.pid)


def add(first, second):
    """What two commands took that ran one after the other."""
    peaks = {key: max(first[key], second[key]) for key in ("rss_kib", "anonymous_kib", "foreign")}
    return {"wall": first["wall"] + second["wall"], "cpu": first["cpu"] + second["cpu"], **peaks,
            "code": first["code"] or second["code"]}


def memory(pid):
    found = dict.fromkeys(KEYS.values(), 0)
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            key = line.split(None, 1)[0]
            if key in KEYS:
                found[KEYS[key]] = int(line.split()[1])
    except (OSError, IndexError):
        pass
    return found


def descendants(pid):
    found = [pid]
    for pid in found:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found


def busy_seconds():
    """CPU seconds of the whole machine; time stolen by others counts."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
