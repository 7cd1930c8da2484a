"""Two sides that differ by seed only: nothing may be found, however often one looks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, alone_evidence, declared, prepare
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.evidence import TestRows
from trunkline.evaluation.score import evaluate_evidence

REPETITIONS = 40
SEEDS = 5  # per side
INPUTS, ROWS = 12, (400, 200, 2000)


def world(seed: int) -> World:
    """Return one task: a number in every second world, yes or no in the others."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(sum(ROWS), INPUTS))
    signal = np.tanh(inputs @ draw.normal(size=(INPUTS, 3)) / 2) @ draw.normal(size=3)
    noisy = signal + draw.normal(size=len(signal)) * 0.5
    return World(inputs, {"target": noisy if seed % 2 else (noisy > 0).astype(float)}, ROWS)


def verdict(seed: int) -> str:
    """Return what is said of two times five trainings of one recipe on world `seed`."""
    planted, kinds = world(seed), {} if seed % 2 else {"target": "binary"}
    training = {"epochs": 8, "batch": 64, "seeds": 2 * SEEDS}
    project = declared(planted, kinds, training=training, trunk={"width": 32})
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), planted, project)
        evidence = alone_evidence(Path(name), project, "target")
    rows = TestRows(np.arange(len(evidence.labels)))
    counts = {"train": ROWS[0], "validation": ROWS[1], "test": ROWS[2]}
    judged = evaluate_evidence([evidence], rows, Evaluation(draws=1000), seed, {"target": counts}, None)
    return str(judged["tasks"]["target"]["transfer"]["verdict"])


def run(repetitions: int = REPETITIONS) -> list[Finding]:
    """Count the worlds in which sharing is said to have helped or hurt."""
    said = [verdict(seed) for seed in range(repetitions)]
    wrong = float(sum(word in ("helped", "hurt") for word in said))
    what = f"two sides that differ by seed: helped or hurt in {repetitions} worlds"
    return [Finding(what, wrong, 0, max(1, repetitions // 10))]
