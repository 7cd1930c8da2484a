"""GradNorm: weights under which all tasks' gradients are as long, longer for tasks that learn slowly.

in      Gramian of the tasks' gradients, losses     (tasks, tasks), (tasks,)
out     a weight per gradient                       (tasks,)
source  Chen et al. 2018, arXiv:1711.02257, equations 1 and 2
Differs: the logarithm of a weight moves by a share of its distance from where GradNorm's own loss is 0, in place of a
        gradient step on that loss with an optimiser of its own: the same fixed point, weights stay positive. A task's
        first loss is 1, as losses are normalised. TorchJD has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.balance.base import LEAST_LOSS, Array, GradientMethod, Seen


class GradNorm(GradientMethod):
    """Even out the lengths of the tasks' gradients. Their directions are left as they are."""

    kind: Literal["gradnorm"]
    asymmetry: float = Field(
        0.5, ge=0, le=10, description="How much longer the gradients of tasks that learn slowly; 0 = all alike."
    )
    rate: float = Field(0.1, gt=0, le=1, description="Share of the distance to the wanted lengths made good each time.")
    remembered: ClassVar[Mapping[str, float]] = {"log_weights": 0.0}
    normalized: ClassVar[bool] = True

    def solve(self, seen: Seen) -> Array:
        """Move the remembered weights and return them, times the declared ones, with sum 1."""
        log_weights, lengths = seen.kept["log_weights"], np.sqrt(np.diag(seen.gramian))
        seen_lengths = np.exp(log_weights) * lengths
        pace = (seen.losses + LEAST_LOSS) / (seen.losses + LEAST_LOSS).mean()
        wanted = seen_lengths.mean() * pace**self.asymmetry
        log_weights += self.rate * (np.log(wanted) - np.log(seen_lengths))
        weights: Array = np.exp(log_weights - log_weights.max()) * seen.priorities
        shares: Array = weights / weights.sum()
        return shares
