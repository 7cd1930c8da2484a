"""CAGrad: near the mean gradient, the step that helps the worst-off task most.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient, sum 1            (tasks,)
source  Liu et al. 2021, "Conflict-Averse Gradient Descent for Multi-task Learning", algorithm 1, arXiv:2110.14048
Differs: divided by the sum of the weights, so that `radius` does not change the length of the step. The inner problem
        is solved as a row of shortest means: for a fixed length t of g_w, that of all g_k + (t / phi) g_0. TorchJD's
        needs cvxpy and returns 0 where all gradients together are shorter than 0.01.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trunkline.balance.base import Array, GradientMethod, Seen
from trunkline.balance.mgda import shortest_mean

ROUNDS = 100
CLOSE = 1e-7  # relative change of the length
STATIONARY = 1e-9  # a mean of the gradients this much shorter than they are is no direction


class CAGrad(GradientMethod):
    """Stay near the mean gradient but look after the worst-off task."""

    kind: Literal["cagrad"]
    radius: float = Field(
        0.4, ge=0, lt=1, description="How far from the mean gradient, in its length; 0 = equal weights."
    )

    def solve(self, seen: Seen) -> Array:
        """Return the weights of the mean gradient plus the help for the worst-off task."""
        mean: Array = seen.priorities / seen.priorities.sum()
        gramian = seen.gramian / np.diag(seen.gramian).mean()
        phi = self.radius * float(np.sqrt(max(mean @ gramian @ mean, 0.0)))
        if phi < STATIONARY:
            return mean
        length, found = 1.0, mean
        for _ in range(ROUNDS):
            shift = length / phi
            cross = gramian @ mean
            shifted = gramian + shift * (cross[:, None] + cross) + shift**2 * (mean @ cross)
            found = shortest_mean(shifted)
            before, length = length, float(np.sqrt(max(found @ gramian @ found, 0.0)))
            if length < STATIONARY:
                return mean
            if abs(length - before) < CLOSE * length:
                break
        weights: Array = (mean + phi / length * found) / (1 + phi / length)
        return weights
