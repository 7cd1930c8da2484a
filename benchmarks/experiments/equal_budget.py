"""A method that was tuned looks better than one that was not; with equal budgets there is nothing left of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import Values, World, declared, prepare, quiet
from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.score import evaluate_evidence
from trunkline.training.arm import load_arm
from trunkline.training.judge import predictions

ROWS = (3000, 1000, 4000)
RATES = [1e-3, 3e-3, 1e-2, 3e-2]
EQUAL, UNCERTAINTY = {"kind": "equal"}, {"kind": "uncertainty"}


def world(seed: int = 5) -> World:
    """Return two related regressions with little noise: how well they are learned is a matter of the step size."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(sum(ROWS), 10))
    hidden = np.tanh(inputs @ draw.normal(size=(10, 6)) / 2)
    targets = {name: hidden @ draw.normal(size=6) + 0.1 * draw.normal(size=len(hidden)) for name in ("a", "b")}
    return World(inputs, targets, ROWS)


def trained(planted: World, balance: dict[str, str], tune: list[float]) -> tuple[dict[str, Values], Any]:
    """Return each task's predictions [seeds, rows, 1] by the shared model on the test rows, and the encoded rows."""
    project = declared(
        planted, {}, balance=balance, alone={"tune": tune}, training={"epochs": 20, "learning_rate": RATES[0]}
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepare(root, planted, project)
        with quiet():
            stages.train(root, project)
        encoded = Encoded(root / stages.ENCODED, list(project.tasks))
        side = encoded.side("test")
        found = predictions(load_arm(root / stages.SHARED, encoded.encoder), side)
        labels = {task: np.asarray(side.labels[task], dtype=np.float64) for task in project.tasks}
    of_tasks = {task: np.stack([each[task] for each in found]) for task in project.tasks}
    return of_tasks, (project, encoded.states, labels, encoded.labelled)


def compared(first: dict[str, Values], second: dict[str, Values], known: Any) -> dict[str, Any]:
    """Return what the statistics say of the first method's gain over the second, per task."""
    project, states, labels, labelled = known
    evidence = [
        Evidence(task, project.tasks[task], states[task], labels[task], first[task], second[task], 0) for task in first
    ]
    rows = TestRows(np.arange(len(evidence[0].labels)))
    judged = evaluate_evidence(evidence, rows, Evaluation(draws=1000), 1, labelled, None)
    return {name: task["transfer"] for name, task in judged["tasks"].items()}


def run() -> list[Finding]:
    """Compare uncertainty weighting, tuned, with equal weights, first untuned and then tuned as well."""
    planted = world()
    untuned, known = trained(planted, EQUAL, [])
    tuned, _ = trained(planted, EQUAL, RATES)
    other, _ = trained(planted, UNCERTAINTY, RATES)
    unfair, fair = compared(other, untuned, known), compared(other, tuned, known)
    found = []
    for task in unfair:
        margin = fair[task]["margin"]
        what = f"{task}: gain of tuned uncertainty weighting, in margins of {margin:.4f}"
        found.append(Finding(f"{what}, over equal weights at one step size", unfair[task]["gain"] / margin, 1))
        found.append(Finding(f"{what}, over equal weights tuned as much", fair[task]["gain"] / margin, -1, 1))
    said = [fair[task]["verdict"] for task in fair]
    return [
        *found,
        Finding("helped or hurt among them with equal budgets", sum(v in ("helped", "hurt") for v in said), 0, 0),
    ]
