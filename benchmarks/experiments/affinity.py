"""Six tasks whose kinship is known: gradients must show it, and unrelated tasks must not be called in conflict."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, prepare, quiet
from trunkline import stages
from trunkline.evaluation.affinity import analyse_affinity
from trunkline.files import read_json

ROWS = (4000, 1000, 1000)
TASKS = ("a", "copy", "minus", "half", "other", "noise")


def world(seed: int = 1) -> World:
    """Return task a, a noisy copy, its negative, half of a and half of another, that other, and pure noise."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(sum(ROWS), 16))
    first = np.tanh(inputs[:, :8] @ draw.normal(size=(8, 4)) / 2) @ draw.normal(size=4)
    second = np.tanh(inputs[:, 8:] @ draw.normal(size=(8, 4)) / 2) @ draw.normal(size=4)
    a, other = first / first.std(), second / second.std()

    def blurred() -> np.ndarray[Any, np.dtype[np.float64]]:
        return 0.3 * draw.normal(size=len(inputs))

    values = (a + blurred(), a + blurred(), -a + blurred(), (a + other) / 2 + blurred(), other + blurred(), blurred())
    return World(inputs, dict(zip(TASKS, values, strict=True)), ROWS)


def measured() -> dict[str, Any]:
    """Train the shared model and return what the report shows of its tasks' gradients."""
    planted = world()
    watch = {"every": 5, "lookahead": 20}
    project = declared(planted, {}, training={"epochs": 12, "seeds": 3}, monitor=watch)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepare(root, planted, project)
        with quiet():
            stages.train(root, project)
        found: dict[str, Any] = analyse_affinity(read_json(root / stages.SHARED / "affinity.json"))
    return found


def run() -> list[Finding]:
    """Look at the mean cosines, the suggested groups and the conflicts."""
    affinity = measured()
    cosine = np.array(affinity["cosine"], dtype=np.float64)

    def between(one: str, two: str) -> float:
        return float(cosine[TASKS.index(one), TASKS.index(two)])

    found = [Finding(f"mean cosine of a and {name}", between("a", name), 0.25) for name in ("copy", "minus")]
    found += [Finding(f"mean cosine of half and {name}", between("half", name), 0.08, 0.5) for name in ("a", "other")]
    found.append(Finding("mean cosine of a and other", between("a", "other"), -0.05, 0.05))
    noise = max((between(name, "noise") for name in TASKS[:-1]), key=abs)
    found.append(Finding("largest mean cosine of anything and noise", noise, -0.05, 0.05))
    rate = float(affinity["conflict_rate"][TASKS.index("a")][TASKS.index("other")])
    found.append(Finding("share of steps in which a and other point apart", rate, 0.3, 0.7))
    found.append(Finding("pairs called in conflict", len(affinity["conflicts"]), 0, 0))
    groups = [set(group) for group in affinity["groupings"][0]["groups"]]
    home = next(group for group in groups if "a" in group)
    found.append(Finding("of copy and minus, how many are suggested beside a", len(home & {"copy", "minus"}), 2, 2))
    found.append(Finding("of other and noise, how many are", len(home & {"other", "noise"}), 0, 0))
    return found
