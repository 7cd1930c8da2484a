"""One class out of several, the torch side: a logit per class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.tasks._head import Correction, Head, copies_of, corrected
from trunkline.tasks._likelihood import FEWEST_ROWS, likeliest
from trunkline.tasks.base import TaskState

Array = np.ndarray[Any, Any]


class CrossEntropy(nn.Module):
    """Minus the logarithm of the probability given to the class."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss [(members,) rows] of logits [(members,) rows, classes] and the classes' places."""
        place = target.to(torch.int64).expand(logits.shape[:-1]).unsqueeze(-1)
        return logits.logsumexp(dim=-1) - logits.gather(-1, place).squeeze(-1)


class MulticlassHead(Head):
    """A logit per class."""

    def loss(self, state: TaskState) -> nn.Module:
        """Return the cross-entropy."""
        return CrossEntropy()

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the probability of each class [rows, classes]."""
        return torch.softmax(corrected(state, output, correction), dim=1)

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities; arguments as those of `Head.mean`."""
        copies = copies_of(outputs)
        return outputs.log_softmax(dim=-1).logsumexp(dim=copies) - math.log(outputs.shape[copies])

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit one slope for all classes and an intercept per class, which only the kind "affine" keeps."""
        truth, bias = targets.astype(np.int64), np.array(state["bias"])
        if np.bincount(truth, minlength=len(bias)).min() < FEWEST_ROWS:
            return Correction()
        slope, intercepts = likeliest(outputs - bias, bias, truth)
        return Correction(slope, intercepts if kind == "affine" else 0.0)
