"""What a constant prediction would lose on other rows than those that it was fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trunkline.tasks._modules import Losses
from trunkline.tasks.base import TaskState

ROWS = 8192  # at once


def constant_losses(states: Sequence[TaskState], targets: Tensor) -> Tensor:
    """Return the mean loss of each task's constant prediction, as a share of that on its training rows.

    Args:
        states: The tasks' states; their heads' biases make the constant prediction.
        targets: float32 [rows, tasks], NaN = no label.

    Returns:
        float64 [tasks]; NaN for a task without a label.
    """
    losses = Losses(list(states), "constant")
    bias = torch.tensor([bias for state in states for bias in state["bias"]])
    sums, counts = torch.zeros(len(states), dtype=torch.float64), torch.zeros(len(states), dtype=torch.float64)
    for first in range(0, len(targets), ROWS):
        part = targets[first : first + ROWS]
        found, known = losses.sums(bias.expand(len(part), -1), part)
        sums, counts = sums + found.double(), counts + known.double()
    return sums / counts
