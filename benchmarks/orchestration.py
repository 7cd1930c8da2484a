"""The commands where there is nothing to do: what every look at an up-to-date project costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import child
from benchmarks.figures import Measured
from benchmarks.measure import Spent, least
from benchmarks.world import Size

TRUNKLINE = [sys.executable, "-m", "trunkline"]
COMMANDS = {"orchestration.run": [*TRUNKLINE, "run"], "orchestration.dvc": [sys.executable, "-m", "dvc", "repro"]}


def measure_orchestration(root: Path, size: Size) -> dict[str, Measured]:
    """Return seconds of each command; those of the pipeline only where it is up to date, so that nothing is run.

    Args:
        root: The checkout.
        size: How often each command is run.
    """
    helps = [child.run([*TRUNKLINE, "--help"], root) for _ in range(size.command_rounds)]
    return _pipeline(root, size.command_rounds) | {"orchestration.help": _seconds(helps)}


def _pipeline(root: Path, rounds: int) -> dict[str, Measured]:
    if why := _why_not(root):
        return dict.fromkeys(COMMANDS, Measured(None, why=why))
    costs: dict[str, list[child.Cost]] = {key: [] for key in COMMANDS}
    for _ in range(rounds):
        for key, command in COMMANDS.items():
            costs[key].append(child.run(command, root))
    return {key: _seconds(each) for key, each in costs.items()}


def _why_not(root: Path) -> str:
    """Return why the pipeline's commands cannot be measured; nothing where they can."""
    if not (root / "dvc.lock").exists():
        return "run `make demo` first"
    planned = child.run([*TRUNKLINE, "plan", "--json"], root)
    if planned.code:
        return f"`trunkline plan` ended with code {planned.code}"
    if any(stage["runs"] for stage in json.loads(planned.stdout)["stages"]):
        return "something changed since the last run; run `make demo` first"
    return ""


def _seconds(costs: list[child.Cost]) -> Measured:
    if failed := next((cost for cost in costs if cost.code), None):
        return Measured(None, why=f"ended with code {failed.code}")
    return Measured.of(least([Spent(cost.cpu, cost.wall) for cost in costs]))
