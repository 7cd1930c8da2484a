"""`python -m benchmarks`, which `make bench` runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Measure as the command line says.

    Returns:
        1 where a goal is missed, else 0.
    """
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure trunkline against its goals.")
    parser.add_argument("--full", action="store_true", help="predict 3.4 million rows instead of 1 million")
    parser.add_argument("--made-up", action="store_true", help="make up rows even if the pipeline has run here")
    chosen = parser.parse_args()
    # Before torch and numpy are loaded: one thread, so that CPU seconds are what an idle machine's clock would show.
    os.environ["OMP_NUM_THREADS"] = "1"
    from rich.console import Console

    from benchmarks.bench import bench
    from benchmarks.world import FULL, WHOLE
    from trunkline.errors import TrunklineError
    from trunkline.pipeline.environment import be_quiet

    be_quiet()
    try:
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        return bench(ROOT, FULL if chosen.full else WHOLE, {}, Console(), command, make_up=chosen.made_up)
    except TrunklineError as fault:
        print(fault, file=sys.stderr)
        return fault.code


if __name__ == "__main__":
    sys.exit(main())
