"""The torch side of the task kinds: outputs of the heads to losses, and to predictions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.tasks.base import TaskState
from trunkline.tasks.regression import HUBER_DELTA

Correction = tuple[float, float]
"""Slope and shift of a head's logits; (1, 0) leaves them."""


def loss_targets(state: TaskState, labels: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Tensor:
    """Return float32 targets [rows] as `Losses` reads them: numbers on their training scale, NaN = no label."""
    if state["kind"] != "regression":
        return torch.from_numpy(np.array(labels))
    cut = np.clip(labels, *state["clip"]) if state["clip"] else labels
    return torch.from_numpy(((cut.astype(np.float64) - state["center"]) / state["spread"]).astype(np.float32))


def loss_scale(state: TaskState, normalize: str) -> float:
    """Return what a task's raw loss is multiplied by.

    `constant`: one over the loss of the best constant prediction on the training labels, so that 1.0 means
    "no skill" for every task. `off`: numbers count in their own unit, squared or not as their loss is.
    """
    if normalize == "constant":
        return float(1.0 / state["constant_loss"])
    if state["kind"] != "regression":
        return 1.0
    return float(state["spread"] ** 2 if state["loss"] == "squared" else state["spread"])


class Losses(nn.Module):
    """Losses of all tasks in a few vectorised steps, each over the rows that have a label.

    Args:
        states: The tasks' states, in the order of the heads' outputs.
        normalize: "constant" or "off", see `loss_scale`.
    """

    scale: Tensor
    logit: Tensor
    huber: Tensor
    columns: Tensor
    targets: Tensor
    restore: Tensor

    def __init__(self, states: list[TaskState], normalize: str) -> None:
        super().__init__()
        starts = np.cumsum([0, *(state["outputs"] for state in states)]).tolist()
        self.slices = list(pairwise(starts))
        self.register_buffer("scale", torch.tensor([loss_scale(state, normalize) for state in states]))
        self.single = _places(states, lambda s: s["outputs"] == 1)
        self.multiclass = _places(states, lambda s: s["kind"] == "multiclass")
        logit = [states[place]["kind"] == "binary" for place in self.single]
        huber = [states[place].get("loss") == "huber" for place in self.single]
        self.any_logit, self.any_huber = any(logit), any(huber)
        self.all_logit = all(logit)
        self.register_buffer("logit", torch.tensor(logit))
        self.register_buffer("huber", torch.tensor(huber))
        self.register_buffer("columns", torch.tensor([starts[place] for place in self.single], dtype=torch.int64))
        self.register_buffer("targets", torch.tensor(self.single, dtype=torch.int64))
        order = self.single + self.multiclass
        self.register_buffer("restore", torch.tensor(np.argsort(order), dtype=torch.int64))

    def sums(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sum of scaled losses, number of labelled rows) per task, each float32 [tasks].

        Args:
            outputs: float32 [rows, outputs of all tasks].
            targets: float32 [rows, tasks], NaN = no label.
        """
        known = ~torch.isnan(targets)
        counts = known.sum(dim=0).to(torch.float32)
        parts = []
        if self.single:
            mask = known[:, self.targets]
            target = torch.where(mask, targets[:, self.targets], 0.0)
            parts.append((self._single(outputs[:, self.columns], target) * mask).sum(dim=0))
        for place in self.multiclass:
            first, last = self.slices[place]
            target = torch.where(known[:, place], targets[:, place], -100.0).to(torch.int64)
            loss = functional.cross_entropy(outputs[:, first:last], target, ignore_index=-100, reduction="sum")
            parts.append(loss.reshape(1))
        return torch.cat(parts)[self.restore] * self.scale, counts

    def _single(self, output: Tensor, target: Tensor) -> Tensor:
        if self.all_logit:
            return functional.softplus(output) - output * target
        error = output - target
        loss = error**2
        if self.any_huber:
            size = error.abs()
            bent = torch.where(size <= HUBER_DELTA, 0.5 * loss, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))
            loss = torch.where(self.huber, bent, loss)
        if self.any_logit:
            loss = torch.where(self.logit, functional.softplus(output) - output * target, loss)
        return loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean scaled loss per task [tasks]; 0 where no row of the batch has a label."""
        sums, counts = self.sums(outputs, targets)
        return sums / counts.clamp(min=1)


def _places(states: list[TaskState], wanted: Callable[[TaskState], bool]) -> list[int]:
    return [place for place, state in enumerate(states) if wanted(state)]


class Predict(nn.Module):
    """Heads' outputs to calibrated predictions in the user's own terms.

    A confidence is corrected by scaling its logit's distance from the training prevalence:
    logit' = bias + slope (logit - bias) + shift, see training/calibrate.py.

    Args:
        states: The tasks' states, in the order of the heads' outputs.
        corrections: (slope, shift) per task; (1, 0) = as trained. Numbers ignore theirs.
    """

    def __init__(self, states: list[TaskState], corrections: list[Correction]) -> None:
        super().__init__()
        self.states, self.corrections = states, corrections

    def forward(self, outputs: Tensor) -> list[Tensor]:
        """Return one prediction per task: probability [rows, 1 or classes] or value [rows, 1].

        Args:
            outputs: float32 [rows, outputs of all tasks].
        """
        predictions, first = [], 0
        for state, (slope, shift) in zip(self.states, self.corrections, strict=True):
            output = outputs[:, first : first + state["outputs"]]
            first += state["outputs"]
            if state["kind"] == "regression":
                predictions.append(output * state["spread"] + state["center"])
                continue
            bias = torch.tensor(state["bias"], dtype=output.dtype, device=output.device)
            logits = bias + slope * (output - bias) + shift
            binary = state["kind"] == "binary"
            predictions.append(torch.sigmoid(logits) if binary else torch.softmax(logits, dim=1))
        return predictions
