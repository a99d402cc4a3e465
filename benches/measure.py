"""What a command takes: CPU seconds, wall time, peak memory; and what a folder holds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def measure(command, env):
    """Runs a command; its JSON lines, and what it took."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{err}")
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    took = {
        "cpu_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
        "wall_ms": round((time.monotonic() - began) * 1000),
        "rss_mib": round(usage.ru_maxrss / 1024, 1),
    }
    return lines, took


def folder_bytes(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
