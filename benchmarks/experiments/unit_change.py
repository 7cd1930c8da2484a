"""Two regressions, one of them in another unit: nothing may change but the unit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import Values, World, declared, prepare, quiet
from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.project import Project
from trunkline.training.arm import load_arm
from trunkline.training.judge import predictions

INPUTS, LATENT = 12, 6


def world(factor: float, rows: int = 4000, seed: int = 1) -> World:
    """Return two targets that read hidden features of their own, the second in a unit `factor` times as small."""
    draw = np.random.default_rng(seed)
    counts = (rows, 1000, 2000)
    inputs = draw.normal(size=(sum(counts), INPUTS))

    def mixed() -> Values:
        hidden = np.tanh(inputs @ draw.normal(size=(INPUTS, LATENT)) / 2)
        mixture = hidden @ draw.normal(size=LATENT)
        return mixture / mixture.std() + 0.2 * draw.normal(size=len(mixture))

    first, second = mixed(), mixed()
    return World(inputs, {"a": first, "b": second * factor}, counts)


def shared_predictions(planted: World, project: Project, alone: bool = False) -> tuple[Mapping[str, Values], Any]:
    """Return each task's predictions on the test rows by the first seed, and the R2 of each."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepare(root, planted, project)
        found: dict[str, Values] = {}
        with quiet():
            stages.train(root, project)
            for task in project.tasks if alone else ():
                stages.baseline(root, project, task)
        encoded = Encoded(root / stages.ENCODED, list(project.tasks))
        rows = encoded.side("test")
        for task in project.tasks:
            arm = load_arm(root / (stages.ALONE / task if alone else stages.SHARED), encoded.encoder)
            found[task] = predictions(arm, rows)[0][task][:, 0].astype(np.float64)
        scores = {
            task: project.tasks[task].scores(np.asarray(rows.labels[task]), found[task][:, None], {})["r2"]
            for task in project.tasks
        }
    return found, scores


def run() -> list[Finding]:
    """Compare factors 1000 and 1024 with 1, both with normalised losses, and raw losses as the control."""
    once = {"training": {"epochs": 15, "seeds": 1}, "trunk": {"width": 192}}
    base, scores = shared_predictions(world(1.0), declared(world(1.0), {}, **once))
    _, alone = shared_predictions(world(1.0), declared(world(1.0), {}, **once), alone=True)
    found = [
        Finding(f"R2 of {task}, shared minus alone", scores[task] - alone[task], -0.01, 0.05) for task in ("a", "b")
    ]
    for factor, most in ((1024.0, 0.0), (1000.0, 0.01)):
        planted = world(factor)
        scaled, _ = shared_predictions(planted, declared(planted, {}, **once))
        for task, by in (("a", 1.0), ("b", factor)):
            moved = np.sqrt(np.mean((scaled[task] / by - base[task]) ** 2)) / base[task].std()
            found.append(Finding(f"b times {factor:g}: rms move of {task}, in its sd", float(moved), 0.0, most))
    planted = world(1000.0)
    raw = {**once, "training": {**once["training"], "normalize": "off"}}
    _, lost = shared_predictions(planted, declared(planted, {}, **raw))
    found.append(Finding("control, raw losses, b times 1000: R2 of a", lost["a"], -1.0, 0.75))
    found.append(Finding("control: R2 of a alone", alone["a"], 0.9, 1.0))
    return found
