"""The torch side of the balance methods: losses of all tasks to the one loss of a step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_LOG_VARIANCE = 5.0


class WeightedMean(nn.Module):
    """The weighted mean of the losses, so that the step does not grow with the number of tasks.

    Args:
        weights: float32 [tasks].
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, losses: Tensor) -> Tensor:
        """Return one loss [(members)] for `losses` [(members,) tasks]."""
        mean: Tensor = (losses * self.weights).sum(dim=-1) / self.weights.sum()
        return mean


class LearnedVariances(WeightedMean):
    """The weighted mean of exp(-s) L + s with a learned s per task.

    Args:
        weights: float32 [tasks].
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__(weights)
        self.log_variances = nn.Parameter(torch.zeros_like(weights))

    def forward(self, losses: Tensor) -> Tensor:
        """Return one loss [(members)] for `losses` [(members,) tasks]."""
        held = self.log_variances.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return super().forward(torch.exp(-held) * losses + held)
