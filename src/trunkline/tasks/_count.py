"""How often something happens, the torch side: the logarithm of the rate."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.tasks._head import Correction, Head, copies_of, corrected
from trunkline.tasks._likelihood import FEWEST_ROWS, SLOPE_RANGE
from trunkline.tasks.base import Array, TaskState


class PoissonDeviance(nn.Module):
    """Poisson deviance of a log rate."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss [(members,) rows] of log rates [(members,) rows, 1] and counts."""
        log_rate = outputs.squeeze(-1)
        return 2 * (torch.xlogy(target, target) - target * log_rate - target + log_rate.exp())


class CountHead(Head):
    """One log rate."""

    def loss(self, state: TaskState) -> nn.Module:
        """Return the Poisson deviance."""
        return PoissonDeviance()

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the expected count [rows, 1]."""
        return corrected(state, output, correction).exp()

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logarithm of the mean rate; arguments as those of `Head.mean`."""
        copies = copies_of(outputs)
        return outputs.logsumexp(dim=copies) - math.log(outputs.shape[copies])

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit slope and intercept of the log rate, and keep the mean prediction where the kind is "slope"."""
        from scipy.optimize import minimize

        if len(targets) < FEWEST_ROWS or targets.sum() < FEWEST_ROWS:
            return Correction()
        log_rate, bias, counts = outputs[:, 0], state["bias"][0], targets.astype(np.float64)
        distance = log_rate - bias

        def loss(parameters: Array) -> tuple[float, Array]:
            moved = bias + parameters[0] * distance + parameters[1]
            rate = np.exp(np.minimum(moved, 50.0))
            gap = rate - counts
            return float(np.mean(rate - counts * moved)), np.array([np.mean(gap * distance), np.mean(gap)])

        found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[SLOPE_RANGE, (-5.0, 5.0)])
        slope, intercept = found.x.tolist()
        level = float(np.log(np.exp(log_rate).mean() / np.exp(bias + slope * distance).mean()))
        return Correction(slope, intercept if kind == "affine" else level)
