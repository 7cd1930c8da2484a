"""Run a command in a process of its own and say what it cost.

    python benchmarks/child.py COMMAND...     prints {"code", "cpu", "wall", "peak", "stdout", "stderr"}

A small process has to stand between: Linux counts the memory of whoever starts a command towards the command's
peak, and the benchmark itself holds torch. Only the standard library is imported, to stay small.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

KIB_PER_MIB = 1024


class Cost(NamedTuple):
    """How a command ended and what it took, all processes that it started included."""

    code: int
    cpu: float
    """CPU seconds, of user and system."""

    wall: float
    """Seconds by the clock."""

    peak: float
    """Largest memory resident at once in one of its processes, MiB."""

    stdout: str
    stderr: str


def run(command: list[str], folder: Path) -> Cost:
    """Run a command in `folder`, measured by a small process between."""
    done = subprocess.run([sys.executable, __file__, *command], cwd=folder, capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout))


def _main() -> None:
    started = time.perf_counter()
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = Cost(
        done.returncode, used.ru_utime + used.ru_stime, wall, used.ru_maxrss / KIB_PER_MIB, done.stdout, done.stderr
    )
    print(json.dumps(cost._asdict()))


if __name__ == "__main__":
    _main()
