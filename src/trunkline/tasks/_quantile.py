"""Quantiles, the torch side: the middle one and the distances between neighbours, on the training scale."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.tasks._head import Correction, Head, copies_of
from trunkline.tasks.base import Array, TaskState

LEAST = 1e-7  # distance of two quantiles; at 0 its logarithm has no slope


def in_order(outputs: Tensor, middle: int) -> Tensor:
    """Return quantiles [..., quantiles] that never fall: each is its inner neighbour plus or minus a distance.

    Args:
        outputs: The quantile at `middle`, and at the other places what becomes the distance to the inner neighbour.
        middle: Place of the quantile from which the others are counted.
    """
    given = outputs.unbind(-1)
    found = [given[middle]]
    for above in given[middle + 1 :]:
        found.append(found[-1] + functional.softplus(above))
    for below in reversed(given[:middle]):
        found.insert(0, found[0] - functional.softplus(below))
    return torch.stack(found, dim=-1)


def apart(quantiles: Tensor, middle: int) -> Tensor:
    """Return the outputs of which `in_order` makes these quantiles, [..., quantiles] both."""
    found = list(quantiles.unbind(-1))
    distances = [(upper - lower).clamp(min=LEAST) for lower, upper in pairwise(found)]
    # The inverse of softplus, in the form that does not overflow.
    raw = [distance + torch.log(-torch.expm1(-distance)) for distance in distances]
    return torch.stack([*raw[:middle], found[middle], *raw[middle:]], dim=-1)


class Pinball(nn.Module):
    """Pinball error, mean over the quantiles.

    Args:
        levels: The quantiles, ascending.
        middle: Place of the one from which the others are counted.
    """

    levels: Tensor

    def __init__(self, levels: list[float], middle: int) -> None:
        super().__init__()
        self.middle = middle
        self.register_buffer("levels", torch.tensor(levels))

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss [(members,) rows] of outputs [(members,) rows, quantiles] and standardised labels."""
        error = target.unsqueeze(-1) - in_order(outputs, self.middle)
        return torch.maximum(self.levels * error, (self.levels - 1) * error).mean(dim=-1)


class QuantileHead(Head):
    """A number per quantile, in standard deviations."""

    uncorrected = "quantiles have no confidence to correct and stay as trained"

    def targets(self, state: TaskState, labels: Array) -> Tensor:
        """Return labels on their training scale [rows]."""
        scaled = (labels.astype(np.float64) - state["center"]) / state["spread"]
        return torch.from_numpy(scaled.astype(np.float32))

    def unit(self, state: TaskState) -> float:
        """Return the standard deviation."""
        return float(state["spread"])

    def loss(self, state: TaskState) -> nn.Module:
        """Return the pinball error."""
        return Pinball(state["quantiles"], state["middle"])

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the quantiles in the target's own unit [rows, quantiles]."""
        return in_order(output, state["middle"]) * float(state["spread"]) + float(state["center"])

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the mean of each quantile, in the terms of the head; arguments as those of `Head.mean`."""
        quantiles = in_order(outputs, state["middle"])
        return apart(quantiles.mean(dim=copies_of(quantiles)), state["middle"])

    def derived(self, state: TaskState, prediction: Tensor) -> list[Tensor]:
        """Return the middle quantile [rows, 1]."""
        return [prediction[:, state["middle"] : state["middle"] + 1]]
