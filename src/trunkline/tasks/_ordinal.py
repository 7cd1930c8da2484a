"""Ordered classes, the torch side: per class but the last the logit of going beyond it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.tasks._chain import ChainLoss, beyond, fit_chain, mean_chain
from trunkline.tasks._head import Correction, Head, corrected
from trunkline.tasks._likelihood import FEWEST_ROWS
from trunkline.tasks.base import Array, TaskState


class OrdinalHead(Head):
    """A logit per class but the last."""

    def targets(self, state: TaskState, labels: Array) -> Tensor:
        """Return the steps gone and whether the row then stopped; at the last class nothing is left to stop at."""
        last = len(state["classes"]) - 1
        return torch.from_numpy((2 * labels + (labels < last)).astype(np.float32))

    def loss(self, state: TaskState) -> nn.Module:
        """Return the likelihood of the steps."""
        return ChainLoss()

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the probability of each class [rows, classes]: it was reached, and not gone beyond."""
        logits = corrected(state, output, correction)
        above, stops = beyond(logits), torch.sigmoid(-logits).chunk(logits.shape[1], dim=1)
        reached = [torch.ones_like(above[0]), *above[:-1]]
        between = [here * stop for here, stop in zip(reached, stops, strict=True)]
        return torch.cat([*between, above[-1]], dim=1)

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logits of going on of the mean prediction; arguments as those of `Head.mean`."""
        return mean_chain(outputs)

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit one slope for all steps; as it is where a class has under 50 rows."""
        if np.bincount(targets.astype(np.int64) // 2, minlength=len(state["classes"])).min() < FEWEST_ROWS:
            return Correction()
        return fit_chain(outputs, targets, np.array(state["bias"]), kind)
