"""A rare label beside a common one: it is learned, its probabilities hold, and the other task does not pay for it.

Yes in 5 of 1,000 rows, so seldom that a head must be told: it starts at the prior, its loss is a share of the prior's.
Each rule is held to the same bars, and shown without its inverse, which no model of ours leaves out. Copies of the rare
rows, which every task would see, are made by hand for comparison.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, prepare, quiet
from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.files import read_json
from trunkline.tasks import BinaryTask
from trunkline.training.arm import load_arm
from trunkline.training.judge import predictions

ROWS = (20_000, 4000, 40_000)
BASE_RATE = 0.005
RULES: dict[str, dict[str, Any]] = {
    "equal": {"kind": "equal"},
    "class_weights .5": {"kind": "class_weights", "power": 0.5},
    "class_weights": {"kind": "class_weights"},
    "logit_adjustment": {"kind": "logit_adjustment"},
    "focal": {"kind": "focal"},
    "oversample": {"kind": "oversample"},
}
WEIGHTED = "class_weights"
SHARE = 0.5  # of the copied rows that are rare


class Scores(NamedTuple):
    """Of the test rows, each the mean over trainings."""

    auc: float
    average_precision: float
    level: float
    """Mean probability of the rare label as a share of its frequency."""
    loss: float
    """Log loss of the rare label as a share of its entropy."""
    other: float
    """ROC AUC of the common label."""
    uncorrected: float
    """`level` without the inverse prior shift."""


def world(seed: int = 1, copies: bool = False) -> World:
    """Return a rare and a common label over overlapping inputs; with `copies`, rare training rows fill half."""
    draw = np.random.default_rng(seed)
    count = sum(ROWS)
    inputs = draw.normal(size=(count, 10))
    rare = _labels(draw, inputs @ _effects(draw, slice(0, 6), 1.9), BASE_RATE)
    common = _labels(draw, inputs @ _effects(draw, slice(4, 10), 2.0), 0.5)
    places, train = np.arange(count), ROWS[0]
    if copies:
        yes, no = (np.flatnonzero(rare[:train] == label) for label in (1, 0))
        places = np.concatenate([draw.choice(yes, int(SHARE * train)), draw.choice(no, train - int(SHARE * train)),
                                 np.arange(train, count)])  # fmt: skip
    return World(inputs[places], {"rare": rare[places], "common": common[places]}, ROWS)


def _effects(draw: np.random.Generator, own: slice, length: float) -> np.ndarray[Any, Any]:
    effects = np.zeros(10)
    effects[own] = draw.normal(size=6)
    return effects * length / np.linalg.norm(effects)


def _labels(draw: np.random.Generator, signal: np.ndarray[Any, Any], rate: float) -> np.ndarray[Any, Any]:
    from scipy.optimize import brentq
    from scipy.special import expit

    level = brentq(lambda level: expit(signal + level).mean() - rate, -20, 20)
    return (draw.random(len(signal)) < expit(signal + level)).astype(float)


def outcome(planted: World, rule: Mapping[str, Any]) -> Scores:
    """Return how the shared model scores with this rule for the rare label."""
    project = declared(
        planted, {"rare": "binary", "common": "binary"},
        rebalance={"kind": "equal", "tasks": {"rare": dict(rule)}},
        training={"seeds": 3, "epochs": 5, "batch": 512, "learning_rate": 2e-3, "weight_decay": 0.01},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, planted, project)
        with quiet():
            stages.train(root, project)
        encoded = Encoded(root / stages.ENCODED, list(project.tasks))
        rows = encoded.side("test")
        found = predictions(load_arm(root / stages.SHARED, encoded.encoder), rows)
        shift = read_json(root / stages.REBALANCE / "rare.json")["prior_shift"]
    task, labels = (
        BinaryTask(kind="binary", target="rare"),
        {name: np.asarray(rows.labels[name]) for name in rows.labels},
    )
    state, rate = encoded.states["rare"], float(labels["rare"].mean())
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))

    def mean(score: Any) -> float:
        return float(np.mean([score(each) for each in found]))

    scores = [task.scores(labels["rare"], each["rare"], state) for each in found]
    odds = np.exp(shift["true"] - shift["false"])
    return Scores(
        float(np.mean([each["roc_auc"] for each in scores])),
        float(np.mean([each["average_precision"] for each in scores])),
        mean(lambda each: each["rare"].mean() / rate),
        float(np.mean([each["log_loss"] for each in scores]) / entropy),
        mean(lambda each: task.scores(labels["common"], each["common"], state)["roc_auc"]),
        mean(lambda each: (1 / (1 + (1 / each["rare"].astype(np.float64) - 1) / odds)).mean() / rate),
    )


def run() -> list[Finding]:
    """Train every rule, three seeds each, and the copies."""
    planted = world()
    of_rule = {name: outcome(planted, rule) for name, rule in RULES.items()}
    copied = outcome(world(copies=True), {"kind": "equal"})
    findings = [finding for name, found in of_rule.items() for finding in _findings(name, found)]
    plain = of_rule["equal"].other
    return [
        *findings,
        *[Finding(f"{name}: ROC AUC that the common label loses", plain - found.other, high=0.005)
          for name, found in of_rule.items() if name != "equal"],
        Finding("class_weights, inverse left out: mean probability, in base rates", of_rule[WEIGHTED].uncorrected, 20),
        Finding("copies of rare rows: mean probability, in base rates", copied.level, 20),
        Finding("copies of rare rows: ROC AUC that the common label loses", plain - copied.other, 0.002),
    ]  # fmt: skip


def _findings(name: str, found: Scores) -> list[Finding]:
    return [
        Finding(f"{name}: ROC AUC of the rare label", found.auc, 0.86),
        Finding(f"{name}: its average precision", found.average_precision, 0.045),
        Finding(f"{name}: mean probability, in base rates", found.level, 0.7, 1.4),
        Finding(f"{name}: log loss, in entropies of the base rate", found.loss, high=0.95),
    ]
