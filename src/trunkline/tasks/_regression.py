"""A number, the torch side: its value on the training scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.tasks._head import Correction, Head
from trunkline.tasks._likelihood import least_squares
from trunkline.tasks.base import TaskState

Array = np.ndarray[Any, Any]


class RegressionHead(Head):
    """One number in standard deviations from the mean; `Losses` computes errors together."""

    fused = True

    def targets(self, state: TaskState, labels: Array) -> Tensor:
        """Return labels, cut to `clip`, on their training scale [rows]."""
        cut = np.clip(labels, *state["clip"]) if state["clip"] else labels
        return torch.from_numpy(((cut.astype(np.float64) - state["center"]) / state["spread"]).astype(np.float32))

    def unit(self, state: TaskState) -> float:
        """Return the standard deviation, squared where the loss is."""
        return float(state["spread"] ** 2 if state["loss"] == "squared" else state["spread"])

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the value in the target's own unit [rows, 1]."""
        slope, shift = correction
        assert isinstance(shift, float)
        spread, center = float(state["spread"]), float(state["center"])
        return output * (slope * spread) + (center + shift * spread)

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Return the scale and shift of least squares where the kind is "affine"; else leave all as it is."""
        return least_squares(outputs[:, 0], targets.astype(np.float64)) if kind == "affine" else Correction()
