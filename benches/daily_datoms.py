"""What the benchmarks share: the generator's datoms, parsed."""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TX0 = 536870912
# The generator leaves line feeds in strings as they are.
DATOM = re.compile(r'\[(\d+) (:[^ ]+) ((?:"(?:[^"\\]|\\.)*")|[^"]*?) (\d+) (true|false)\]\n', re.S)


def generate(*arguments):
    """Text of debian_datoms.py."""
    command = [sys.executable, HERE / "debian_datoms.py", *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
