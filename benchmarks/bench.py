"""Everything measured, one after the other."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.figures import Goal, Measured, exit_code, judge, table_rows, with_goals
from benchmarks.memory import measure_memory
from benchmarks.orchestration import measure_orchestration
from benchmarks.report import page, show
from benchmarks.scoring import measure_predict
from benchmarks.seeds import measure_seeds
from benchmarks.serving import measure_serving
from benchmarks.training import measure_training
from benchmarks.world import Size, World, has_run, made_up, of_root
from trunkline.files import write_text

PAGE = Path("docs/benchmarks.md")


def bench(
    root: Path, size: Size, goals: Mapping[str, Goal], console: Console, command: str, *, make_up: bool = False
) -> int:
    """Measure everything, print the table and write docs/benchmarks.md.

    Args:
        root: The checkout: its rows and models are measured where its pipeline has run, and docs/ lies there.
        size: How much is measured.
        goals: Goals that take the place of the usual ones, by the row's key.
        console: Where the table goes.
        command: What the user typed, for the page.
        make_up: Make up rows even if the pipeline has run.

    Returns:
        1 where a goal is missed, else 0.
    """
    started, facts = time.perf_counter(), {"command": f"`{command}`", **machine.describe()}
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as name:
        folder = Path(name)
        if make_up or not has_run(root):
            about = f"{size.made_up_rows:,} made-up rows of the demo's shape and models trained on them for one epoch"
            world = _quietly(folder / "project", size, console)
        else:
            about, world = "the rows and models of this checkout's pipeline", of_root(root)
        figures = _measure(root, world, size, folder, console)
    judged = judge(with_goals(table_rows(len(world.project.tasks)), goals), figures)
    show(judged, console)
    write_text(root / PAGE, page(judged, about, facts, time.perf_counter() - started))
    return exit_code(judged)


def _measure(root: Path, world: World, size: Size, folder: Path, console: Console) -> dict[str, Measured]:
    """Return all figures; `root` is the checkout, which is not the project measured where that is made up."""
    parts: dict[str, Callable[[], dict[str, Measured]]] = {
        "training": lambda: measure_training(world, size),
        "seeds together": lambda: measure_seeds(world, size, folder),
        "memory of training": lambda: measure_memory(world, size),
        "the exported file": lambda: measure_serving(world, size),
        "trunkline predict": lambda: measure_predict(world, size, folder),
        "orchestration": lambda: measure_orchestration(root, size),
    }
    figures: dict[str, Measured] = {}
    for name, measure in parts.items():
        started = time.perf_counter()
        figures |= measure()
        console.print(f"{name}: {time.perf_counter() - started:.0f} s", style="dim")
    return figures


def _quietly(root: Path, size: Size, console: Console) -> World:
    """Make a project up, without the lines of its stages."""
    started = time.perf_counter()
    with open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
        world = made_up(root, size)
    console.print(f"rows and models made up: {time.perf_counter() - started:.0f} s", style="dim")
    return world
