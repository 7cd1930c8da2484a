"""`python -m benchmarks.experiments [NAME...]`, which `make experiments` runs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.experiments.finding import Finding

ROOT = Path(__file__).parents[2]
MADE_UP = (
    "unit_change", "conflict", "transfer", "null", "equal_budget", "affinity", "calibration", "dependency", "fairness",
    "low_resource", "missing_labels", "rare", "sampling_law", "aggregators",
)  # fmt: skip
FLIGHTS = "flights"


def main() -> int:
    """Run the experiments named, all by default.

    Returns:
        1 where one found something else than it had to, else 0.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.experiments", description="Experiments with known answers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*MADE_UP, FLIGHTS])}; default: all")
    chosen = parser.parse_args().names or [*MADE_UP, FLIGHTS]
    if unknown := set(chosen) - {*MADE_UP, FLIGHTS}:
        parser.error(f"no experiment is called {sorted(unknown)[0]}; they are {', '.join([*MADE_UP, FLIGHTS])}")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded
    from rich.console import Console

    from trunkline.pipeline.environment import be_quiet

    be_quiet()
    console, table, passed = Console(), _table(), True
    for name, findings in _run(chosen, console):
        for finding in findings:
            passed &= finding.passed
            mark = "[green]pass[/]" if finding.passed else "[red]FAIL[/]"
            table.add_row(name, finding.what, f"{finding.seen:.4g}", finding.bound, mark)
    console.print(table)
    return 0 if passed else 1


def _run(names: list[str], console: Console) -> Iterator[tuple[str, list[Finding]]]:
    from trunkline.stages import VALIDATED

    for name in names:
        if name == FLIGHTS and not (ROOT / VALIDATED / "manifest.json").exists():
            console.print(f"{name}: not run, because there are no flights here; run `make demo` first", style="yellow")
            continue
        started = time.perf_counter()
        run = _experiment(name)
        yield name, run()
        console.print(f"{name}: {time.perf_counter() - started:.0f} s", style="dim")


def _experiment(name: str) -> Callable[[], list[Finding]]:
    from importlib import import_module

    run = import_module(f"benchmarks.experiments.{name}").run
    return (lambda: run(ROOT)) if name == FLIGHTS else run


def _table() -> Table:
    from rich.table import Table

    table = Table("experiment", "what", "seen", "bound", "", title="Experiments with known answers")
    table.columns[1].overflow = "fold"
    return table


if __name__ == "__main__":
    sys.exit(main())
