"""A task with few labels beside related ones with many: seen often enough, it gains, and they lose nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, judge
from benchmarks.experiments.transfer import LABELS, world

HELPERS = ("helper0", "helper1", "helper2")
RULES: Mapping[str, dict[str, Any]] = {
    "pretrain_then_joint": {"kind": "pretrain_then_joint", "tasks": list(HELPERS), "share": 0.5, "temperature": 2.0},
    "square_root": {"kind": "square_root"},
}


def judged(planted: World, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return what reports/evaluation.json says of each task under a rule."""
    project = declared(planted, {}, training={"epochs": 16, "batch": 256}, sampling=sampling)
    with tempfile.TemporaryDirectory() as folder:
        tasks: dict[str, Any] = judge(Path(folder), planted, project)["tasks"]
    return tasks


def run() -> list[Finding]:
    """Look at the gain of the task with few labels, and at what the others lose: on average, and to the shuffle."""
    planted, found = world(related=True, seed=3), []
    before = judged(planted, {"kind": "shuffle"})
    for name, sampling in RULES.items():
        tasks = judged(planted, sampling)
        gain = tasks["target"]["transfer"]
        found.append(Finding(f"{name}: gain in R2 of the task with {LABELS} labels", gain["gain"], 0.05))
        found.append(Finding(f"{name}: lower end of its interval", gain["interval"][0], 0.0))
        mean = sum(tasks[helper]["transfer"]["gain"] for helper in HELPERS) / len(HELPERS)
        found.append(Finding(f"{name}: mean gain of the tasks with many labels", mean, -0.01))
        worst = min(tasks[helper]["transfer"]["gain"] for helper in HELPERS)
        found.append(Finding(f"{name}: worst gain of the tasks with many labels", worst, -0.01))
        moved = min(tasks[helper]["shared"]["r2"] - before[helper]["shared"]["r2"] for helper in HELPERS)
        found.append(Finding(f"{name}: worst of them, shared, against the shuffle", moved, -0.01))
    return found
