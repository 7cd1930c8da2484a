"""`python -m benchmarks.quality`, which `make bench-quality` runs."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Train and score what the command line names.

    Returns:
        0, or 2 where something is missing.
    """
    from benchmarks.quality.recipes import EPOCHS, MORE_STEPS, RECIPES

    parser = argparse.ArgumentParser("python -m benchmarks.quality", description="Recipes on the demo's flights.")
    parser.add_argument("--shares", nargs="*", type=float, choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="*", choices=[recipe.name for recipe in RECIPES])
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded
    from rich.console import Console

    from benchmarks.quality.contest import contest, project_of
    from benchmarks.quality.recipes import BASE
    from benchmarks.quality.table import HEADS, markdown, rows_of
    from trunkline.pipeline.environment import be_quiet
    from trunkline.stages import VALIDATED

    be_quiet()
    console = Console()
    if not (ROOT / VALIDATED / "manifest.json").exists():
        console.print("There are no flights here; run `make demo` first", style="red")
        return 2
    recipes = [r for r in RECIPES if not chosen.recipes or r.name in chosen.recipes or r is BASE]
    for share in chosen.shares:
        more = ", ".join(f"{key} {value}" for key, value in MORE_STEPS[share].items())
        tasks = project_of(ROOT, BASE, share, chosen.seeds).tasks
        with tempfile.TemporaryDirectory() as name:
            run = contest(ROOT, Path(name), share, chosen.seeds, recipes, lambda what: console.print(what, style="dim"))
            rows = rows_of(list(run), tasks)
        print(f"\n{share:.0%} of the training rows, {EPOCHS[share]} epochs, {chosen.seeds} seeds; more steps: {more}\n")
        print(markdown([*HEADS, *tasks, "CPU s"], rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
