"""A task with few labels beside helpers that share its structure, or have nothing to do with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import Values, World, declared, judge

INPUTS, USED, LATENT, HELPERS = 24, 8, 4, 3
LABELS, ROWS = 100, 4000
VERDICT = {"helped": 1.0, "equivalent": 0.0, "inconclusive": 0.0, "hurt": -1.0}


def world(related: bool, seed: int) -> World:
    """Return a target with 100 training labels and three helpers with 4000.

    The target reads four hidden features of 8 of 24 inputs. Related helpers read the same four, in other mixtures;
    unrelated ones read hidden features of the other 16 inputs.
    """
    draw = np.random.default_rng(seed)
    counts = (ROWS, 1000, 5000)
    inputs = draw.normal(size=(sum(counts), INPUTS))
    own = np.tanh(inputs[:, :USED] @ draw.normal(size=(USED, LATENT)) / 2)
    others = own if related else np.tanh(inputs[:, USED:] @ draw.normal(size=(INPUTS - USED, LATENT)) / 2)

    def mixed(features: Values) -> Values:
        mixture: Values = features @ draw.normal(size=LATENT) + draw.normal(size=len(features)) * 0.3
        return mixture

    target = mixed(own)
    target[LABELS:ROWS] = np.nan
    return World(inputs, {"target": target} | {f"helper{place}": mixed(others) for place in range(HELPERS)}, counts)


def run() -> list[Finding]:
    """Return what the verdict says of the target in both worlds."""
    found = []
    for name, wanted in (("related", 1.0), ("unrelated", -1.0)):
        planted = world(name == "related", seed=3)
        project = declared(planted, {}, training={"epochs": 8, "batch": 256})
        with tempfile.TemporaryDirectory() as folder:
            task = judge(Path(folder), planted, project)["tasks"]["target"]
        alone, shared = task["alone"]["r2"], task["shared"]["r2"]
        what = f"{name} helpers: verdict of the task with {LABELS} labels (R2 {alone:.3f} alone, {shared:.3f} shared)"
        found.append(Finding(what, VERDICT[task["transfer"]["verdict"]], wanted, wanted))
    return found
