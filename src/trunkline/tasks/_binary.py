"""Yes or no, the torch side: the logit of "yes"."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.tasks._head import Correction, Head, corrected, mean_logit
from trunkline.tasks._likelihood import FEWEST_ROWS, level_shift, likeliest
from trunkline.tasks.base import TaskState

Array = np.ndarray[Any, Any]


class BinaryHead(Head):
    """One logit; `Losses` computes cross-entropies together."""

    fused = True

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the probability of "yes" [rows, 1]."""
        return torch.sigmoid(corrected(state, output, correction))

    def chances(self, prediction: Tensor) -> Tensor:
        """Return the probabilities of "no" and "yes" [rows, 2]."""
        return torch.cat([1 - prediction, prediction], dim=1)

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logit of the mean probability; arguments as those of `Head.mean`."""
        return mean_logit(outputs)

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit slope and intercept, and keep the mean probability where the kind is "slope"."""
        truth, bias = targets.astype(np.int64), np.array([0.0, *state["bias"]])
        if np.bincount(truth, minlength=2).min() < FEWEST_ROWS:
            return Correction()
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        slope, intercepts = likeliest(outputs - bias, bias, truth)
        return Correction(slope, intercepts[1] if kind == "affine" else level_shift(outputs[:, 1], bias[1], slope))
