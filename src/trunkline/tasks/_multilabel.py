"""Several yes or no, the torch side: a logit per label."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.tasks._head import Correction, Head, corrected, mean_logit
from trunkline.tasks._likelihood import FEWEST_ROWS, level_shift, likeliest_logits
from trunkline.tasks.base import Array, TaskState
from trunkline.tasks.multilabel import unpacked


class LabelsLoss(nn.Module):
    """Weighted sum of the cross-entropies of the labels that a row has.

    Args:
        weights: One per label.
    """

    weights: Tensor
    powers: Tensor

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))
        self.register_buffer("powers", 3 ** torch.arange(len(weights)))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss [(members,) rows] of logits [(members,) rows, labels] and packed labels."""
        digits = target.to(torch.int64).unsqueeze(-1) // self.powers % 3
        loss = functional.softplus(logits) - logits * (digits == 2)
        return (loss * (digits > 0) * self.weights).sum(dim=-1)


class MultilabelHead(Head):
    """A logit per label."""

    def loss(self, state: TaskState) -> nn.Module:
        """Return the weighted cross-entropies."""
        return LabelsLoss(state["weights"])

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the probability of each label [rows, labels]."""
        return torch.sigmoid(corrected(state, output, correction))

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logits of the mean probabilities; arguments as those of `Head.mean`."""
        return mean_logit(outputs)

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit one slope for all labels and an intercept each; keep the mean probabilities where the kind is "slope"."""
        truth, bias = unpacked(targets, outputs.shape[1]), np.array(state["bias"])
        if min((truth == answer).sum(axis=0).min() for answer in (0, 1)) < FEWEST_ROWS:
            return Correction()
        slope, intercepts = likeliest_logits(outputs - bias, bias, truth)
        if kind == "affine":
            return Correction(slope, intercepts)
        known = ~np.isnan(truth)
        own = [outputs[known[:, place], place] for place in range(len(bias))]
        return Correction(slope, tuple(level_shift(logits, bias[at], slope) for at, logits in enumerate(own)))
