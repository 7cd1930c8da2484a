"""Two tasks that need one number each, where they may share one: who looks after both, and what is advised.

source  a linear trunk of rank 1, targets x1 and sqrt(.8) x2 + noise: under equal weights one task gets everything
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, judge

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trunkline.training.batches import Rows
    from trunkline.training.fit import Arm

SEEDS = (5, 6, 7)
INPUTS, ROWS = 10, 2048
TIGHT = 6  # tasks, and units for all of them
SURGERIES = [(kind, level) for kind in ("pcgrad", "upgrad", "imtl_g") for level in ("last", "all")]


def targets(inputs: np.ndarray[Any, Any], draw: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return the two targets, [rows, 2]."""
    second = np.sqrt(0.8) * inputs[:, 1] + np.sqrt(0.2) * draw.normal(size=len(inputs))
    return np.stack([inputs[:, 0], second], axis=1)


def rows_of_conflict() -> Rows:
    """Return the rows that train, and choose."""
    import torch

    from trunkline.training.batches import Rows

    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(ROWS, INPUTS))
    nothing = torch.zeros(ROWS, 0, dtype=torch.int32)
    wanted = torch.from_numpy(targets(inputs, draw)).float()
    return Rows(inputs.astype(np.float32), nothing.numpy(), wanted, nothing, nothing.float())


def linear_network(numbers: int, generator: torch.Generator) -> nn.Module:
    """Return a network of which two tasks share `numbers` linear numbers."""
    import torch
    from torch import nn

    from trunkline.nets.stack import Linear

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.heads = Linear(INPUTS, numbers), Linear(numbers, 2)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.3, generator=generator)
            with torch.no_grad():
                self.heads.weight.mul_(0.3)
                self.heads.bias.zero_()

        @property
        def last_shared(self) -> nn.Module:
            return self.trunk

        @property
        def own_weights(self) -> list[nn.Parameter]:
            return list(self.heads.parameters())

        def look_at(self, features: Any) -> None:
            """Learn nothing of the inputs' places."""

        def combined(self, outputs: Tensor, as_trained: bool = False) -> Tensor:
            return outputs

        def forward(self, features: Tensor, codes: Tensor) -> Tensor:
            outputs: Tensor = self.heads(self.trunk(features))
            return outputs

    return Shared()


def scores(balance: dict[str, Any], numbers: int = 1) -> list[list[float]]:
    """Return R2 of both tasks, by seed, for a trunk of `numbers` linear numbers."""
    from pydantic import TypeAdapter

    from trunkline.balance import Balance
    from trunkline.chance import torch_stream
    from trunkline.nets.declarations import MLPTrunk
    from trunkline.training.checkpoint import Checkpoints
    from trunkline.training.declarations import Training
    from trunkline.training.engine import Learner
    from trunkline.training.fit import Arm, _Trainer

    class Trainer(_Trainer):
        def _start(self, seed: int) -> Learner:
            network: Any = linear_network(numbers, torch_stream(seed, "weights"))
            return Learner(network, self.arm.balance.build(list(self.arm.states), self.weights))

    state = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared",
             "spread": 1.0, "center": 0.0, "clip": None}  # fmt: skip
    recipe = Training(epochs=16, batch=128, learning_rate=0.02, weight_decay=0.0, device="cpu")
    method = TypeAdapter(Balance).validate_python(balance)
    states: Any = {"a": state, "b": state}
    arm: Arm = Arm("shared", states, {"a": 1.0, "b": 1.0}, INPUTS, [], MLPTrunk(), method, recipe)
    rows = rows_of_conflict()
    with tempfile.TemporaryDirectory() as folder:
        fitted = Trainer(arm, rows, rows, SEEDS, Checkpoints(Path(folder), "x"), lambda line: None, None).run()
    return [[1 - each.history[-1][f"validation.{task}"] for task in states] for each in fitted]


def advice() -> tuple[float, float]:
    """Return how many of six tasks, each its own input, are hurt by sharing six units, and how many are told so.

    A unit gives half of what a task needs, the positive or the negative part; alone a task has six.
    """
    draw = np.random.default_rng(1)
    counts = (1500, 600, 1500)
    inputs = draw.normal(size=(sum(counts), TIGHT))
    planted = World(inputs, {f"t{place}": values for place, values in enumerate(inputs.T)}, counts)
    trunk, training = {"width": TIGHT, "depth": 1}, {"epochs": 15, "batch": 64, "learning_rate": 0.01}
    project = declared(planted, {}, trunk=trunk, monitor={"every": 5}, training=training)
    with tempfile.TemporaryDirectory() as folder:
        evaluation = judge(Path(folder), planted, project)
    hurt = sum(task["transfer"]["verdict"] == "hurt" for task in evaluation["tasks"].values())
    wider = {each["task"] for each in evaluation["advice"] if each["diagnosis"] in ("conflict", "too_little_room")}
    return float(hurt), float(len(wider))


def run() -> list[Finding]:
    """Return the worse task's R2, of the worst seed, under each method; then what the pipeline says of such a pair."""
    found = []
    equal = max(min(both) for both in scores({"kind": "equal"}))
    found.append(Finding("one number for two tasks, equal weights: R2 of the worse task", equal, high=0.1))
    worst = min(min(both) for both in scores({"kind": "tchebycheff"}))
    found.append(Finding("the same, tchebycheff", worst, low=0.35))
    for kind, level in SURGERIES:
        worst = min(min(both) for both in scores({"kind": kind, "level": level, "every": 1, "rows": None}))
        found.append(Finding(f"the same, {kind}, level: {level}", worst, low=0.15))
    both = np.min(scores({"kind": "equal"}, numbers=2), axis=0)
    found.append(Finding("two numbers, equal weights: R2 of the first task", float(both[0]), low=0.97))
    found.append(Finding("two numbers, equal weights: R2 of the second, noisy one", float(both[1]), low=0.75))
    hurt, wider = advice()
    found.append(Finding(f"{TIGHT} tasks, {TIGHT} units: tasks that are said to be hurt", hurt, low=1))
    found.append(Finding("and of these, tasks that are said to lack room in the trunk", wider, hurt, hurt))
    return found
