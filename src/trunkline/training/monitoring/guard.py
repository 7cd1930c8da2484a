"""What is said where a number of a training is not finite: whose, when, and which row may have brought it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from trunkline.tasks.base import TaskState
from trunkline.training.batches import Rows
from trunkline.training.monitoring.steps import GRADIENT, LOSS, WEIGHT, Fault

EXTREME = 30.0  # spreads from its centre from which on a label is named
PART = 65_536  # rows at once


def refusal(fault: Fault, states: Mapping[str, TaskState], steps_per_epoch: int, train: Rows, balance: str) -> str:
    """Return what the user reads.

    Args:
        fault: The first number that is not finite.
        states: The tasks' states, in the order of their targets.
        steps_per_epoch: Of the training.
        train: The training rows, in which a cause is looked for.
        balance: balance.kind.
    """
    name = None if fault.task is None else list(states)[fault.task]
    whose = {
        LOSS: f"task '{name}': its loss",
        WEIGHT: f"task '{name}': the weight that balance.kind: {balance} gives it",
        GRADIENT: "the gradient of all tasks, whose losses are finite,",
    }[fault.part]
    when = f"step {fault.step} (epoch {fault.step // steps_per_epoch + 1}) of seed {fault.seed}"
    number = "spread" in states[name] if name else False
    cause = _bad_feature(train) + (_extreme_label(fault.task, train) if number and fault.task is not None else "")
    return (
        f"{whose} is NaN or infinite at {when}.\n  {cause}Lower training.learning_rate, or look for extreme labels in "
        f"reports/validation.html; the last whole epoch is kept and resumes"
    )


def _bad_feature(train: Rows) -> str:
    """Name the first prepared input that is not finite; what `encode` writes never is."""
    for first in range(0, len(train.features), PART):
        lost = ~np.isfinite(train.features[first : first + PART])
        if lost.any():
            row, column = np.argwhere(lost)[0]
            return f"Training row {first + row} holds no finite number in column {column} of data/encoded/features. "
    return ""


def _extreme_label(task: int, train: Rows) -> str:
    """Name the label of a number that is farthest from the centre, where it is far out."""
    sizes = train.targets[:, task].nan_to_num(nan=0.0).abs()
    row = int(torch.argmax(sizes))
    if sizes[row] < EXTREME:
        return ""
    return f"Training row {row} has a label {float(sizes[row]):.3g} spreads from the centre. "
