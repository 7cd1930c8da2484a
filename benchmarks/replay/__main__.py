"""`python -m benchmarks.replay`, which `make replay` runs: a year of real flights, a retraining a month."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.replay.place import Size


def main(words: list[str]) -> int:
    """Replay the year and print what came of it.

    Returns:
        1 where a bar is missed, else 0.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,500 flights a month, the last three months retrained")
    parser.add_argument("--page", type=Path, help="also write tables and a chart per task to this HTML file")
    parser.add_argument("--folder", type=Path, help="where the project is made, and stays; default: a temporary one")
    chosen = parser.parse_args(words)

    from benchmarks.replay.place import FULL, QUICK
    from trunkline.pipeline.environment import be_quiet

    be_quiet()
    size = QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return run(chosen.folder or Path(folder) / "flights", size, chosen.page)


def run(root: Path, size: Size, page: Path | None) -> int:
    """Replay the year in a new project; return the exit code."""
    from benchmarks.replay import page as pages
    from benchmarks.replay.bars import bars
    from benchmarks.replay.drops import months
    from benchmarks.replay.place import Place
    from benchmarks.replay.year import Stopped, replay

    began = time.monotonic()
    drops, place = months(size.rows), Place(root, size)
    try:
        story = replay(place, drops, lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True))
    except Stopped as fault:
        print(f"MISSED: {fault}")
        return 1
    found = list(bars(story, place, len(drops)))
    print("", pages.markdown(pages.table_of_months(story.months)), sep="\n")
    print("", pages.markdown(pages.table_of_bars(found)), sep="\n")
    print(*[f"{bar.what}: {bar.fault}" for bar in found if not bar.met], sep="\n")
    spent = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) / 60
    print(f"{(time.monotonic() - began) / 60:.0f} minutes by the clock, {spent:.0f} of one processor")
    if page:
        page.write_text(pages.page(story, found))
    return int(not all(bar.met for bar in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
