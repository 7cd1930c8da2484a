"""A column that stands for the group: the gap shows, a gate on it fails, a penalty closes it, and the gate passes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, judge
from trunkline import stages
from trunkline.files import read_json

ROWS = (4000, 1500, 6000)
ALLOWED = 0.1
PENALTY = {"kind": "demographic_parity", "task": "hired", "column": "group", "gap": 0.05}


def world(seed: int = 2) -> World:
    """Return a yes-or-no task whose base rate differs by group, inputs of which one tells the group, and a number."""
    draw = np.random.default_rng(seed)
    count = sum(ROWS)
    group = draw.integers(0, 2, count)
    merit = draw.normal(size=(count, 4))
    proxy = group + 0.5 * draw.normal(size=count)
    logit = merit @ np.array([1.2, -0.8, 0.6, 0.4]) + 2.0 * (group - 0.5)
    hired = (draw.random(count) < 1 / (1 + np.exp(-logit))).astype(float)
    wage = merit @ np.array([0.5, 0.5, -0.5, 0.3]) + 0.4 * draw.normal(size=count)
    inputs = np.column_stack([merit, proxy])
    return World(inputs, {"hired": hired, "wage": wage}, ROWS, {"group": [f"group {place}" for place in group]})


def outcome(penalties: list[dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """Return evaluation.json and the gap in selection rate, trained with these penalties."""
    planted = world()
    project = declared(
        planted,
        {"hired": "binary"},
        data={"sensitive": ["group"]},
        training={"fairness": penalties},
        evaluation={"gates": {"hired": {"max_selection_rate_gap": ALLOWED}}},
    )
    with tempfile.TemporaryDirectory() as name:
        evaluation = judge(Path(name), planted, project)
        analysis = read_json(Path(name) / stages.REPORTS / "analysis.json")
    return evaluation, float(analysis["fairness"]["group"]["hired"]["gaps"]["selection_rate"]["value"])


def run() -> list[Finding]:
    """Compare the model without the penalty and with it."""
    (plain, gap), (fair, closed) = outcome([]), outcome([PENALTY])
    wage = fair["tasks"]["wage"]["shared"]["r2"] - plain["tasks"]["wage"]["shared"]["r2"]
    return [
        Finding("gap in selection rate without a penalty", gap, 0.15),
        Finding(f"a gate at {ALLOWED} then passes (1) or fails (0)", float(plain["deployable"]), 0, 0),
        Finding("gap with the penalty", closed, 0, 0.07),
        Finding("the gate then", float(fair["deployable"]), 1, 1),
        Finding("ROC AUC with the penalty", fair["tasks"]["hired"]["exported"]["roc_auc"], 0.79),
        Finding("change of the other task's R2", wage, -0.01, 0.01),
    ]
