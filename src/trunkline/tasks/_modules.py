"""The torch side of the task kinds: outputs of the heads to losses, and to predictions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.tasks._given import Joint, JointLogits
from trunkline.tasks.base import TaskState
from trunkline.tasks.regression import HUBER_DELTA

LEAST_MISS = 1e-7  # below it, the slope of a power below 1 would be infinite


class Correction(NamedTuple):
    """What calibration does to a head's outputs: output' = bias + slope (output - bias) + shift.

    The bias is the logit of the training prevalence; of a number, whose outputs are on its training scale, it is 0.
    """

    slope: float = 1.0
    shift: float | tuple[float, ...] = 0.0
    """One for all of the task's outputs, or one per class."""

    @classmethod
    def from_json(cls, content: list[Any]) -> Correction:
        """Read what JSON made of a correction."""
        slope, shift = content
        return cls(float(slope), tuple(shift) if isinstance(shift, list) else float(shift))


class Region(NamedTuple):
    """What makes an interval of a value, or a set of classes of probabilities, see training/conformal.py."""

    coverage: float
    """Share of rows whose label it is to hold."""

    bounds: tuple[float, ...]
    """Of a number: half the interval's width, in the target's unit. Else per class the least probability in the set."""

    @classmethod
    def from_json(cls, content: list[Any]) -> Region:
        """Read what JSON made of a region."""
        coverage, bounds = content
        return cls(float(coverage), tuple(bounds))


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
        states: The tasks' states, in the order of the heads' outputs. For a task that is rebalanced they may hold
            `shift`, numbers that are added to its outputs first, and `focus`, the exponent of the focal loss.
        normalize: "constant" or "off", see `loss_scale`.
    """

    scale: Tensor
    logit: Tensor
    huber: Tensor
    columns: Tensor
    targets: Tensor
    restore: Tensor
    shift: Tensor
    focus: Tensor

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
        shift = [number for state in states for number in state.get("shift", [0.0] * state["outputs"])]
        focus = [state.get("focus", 0.0) for state in states]
        self.shifted, self.focused = any(shift), any(focus)
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("focus", torch.tensor(focus))
        order = self.single + self.multiclass
        self.register_buffer("restore", torch.tensor(np.argsort(order), dtype=torch.int64))
        self.joined = JointLogits(states)

    def sums(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (sum of scaled losses, number of labelled rows) per task, each float32 [(members,) tasks].

        Args:
            outputs: float32 [(members,) (copies,) rows, outputs of all tasks]; copies count by their mean loss.
            targets: float32 [(members,) rows, tasks], NaN = no label.
            weights: How much each row counts, float32 [(members,) rows, tasks], 1 in the mean, so that the sum over
                the number of rows still is a mean; None, or of width 0: every row counts the same.
        """
        if outputs.dim() > targets.dim():
            of_rows = targets.unsqueeze(-3), None if weights is None else weights.unsqueeze(-3)
            of_copies, counts = self.sums(outputs, *of_rows)
            return of_copies.mean(dim=-2), counts.squeeze(-2)
        outputs = self.joined(outputs)
        known = ~torch.isnan(targets)
        counts = known.sum(dim=-2).to(torch.float32)
        counting = known if weights is None or not weights.shape[-1] else known * weights
        if self.shifted:
            outputs = outputs + self.shift
        parts = []
        if self.single:
            mask = known[..., self.targets]
            target = torch.where(mask, targets[..., self.targets], 0.0)
            losses = self._focal(self._single(outputs[..., self.columns], target), self.targets)
            parts.append((losses * counting[..., self.targets]).sum(dim=-2))
        for place in self.multiclass:
            first, last = self.slices[place]
            mask = known[..., place]
            target = torch.where(mask, targets[..., place], 0.0).to(torch.int64)
            logits = outputs[..., first:last]
            chosen = logits.gather(-1, target.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
            losses = self._focal(logits.logsumexp(dim=-1) - chosen, place)
            parts.append((losses * counting[..., place]).sum(dim=-1, keepdim=True))
        return torch.cat(parts, dim=-1)[..., self.restore] * self.scale, counts

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

    def _focal(self, losses: Tensor, places: Tensor | int) -> Tensor:
        """Return cross-entropies with the say of well predicted rows taken away; others, of exponent 0, as they are."""
        if not self.focused:
            return losses
        missed = -torch.expm1(-losses.clamp(min=LEAST_MISS))  # 1 - probability of the label
        return losses * missed ** self.focus[places]

    def forward(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean scaled loss per task [(members,) tasks]; 0 where no row of the batch has a label."""
        sums, counts = self.sums(outputs, targets, weights)
        return sums / counts.clamp(min=1)


def _places(states: list[TaskState], wanted: Callable[[TaskState], bool]) -> list[int]:
    return [place for place, state in enumerate(states) if wanted(state)]


class Predict(nn.Module):
    """Heads' outputs to calibrated predictions in the user's own terms.

    Args:
        states: The tasks' states, in the order of the heads' outputs.
        corrections: What calibration does to each task's outputs; (1, 0) = as trained.
    """

    def __init__(self, states: list[TaskState], corrections: list[Correction]) -> None:
        super().__init__()
        self.states, self.corrections = states, corrections
        self.joint = Joint(states)

    def forward(self, outputs: Tensor) -> list[Tensor]:
        """Return one prediction per task: probability [rows, 1 or classes] or value [rows, 1].

        Args:
            outputs: float32 [rows, outputs of all tasks].
        """
        predictions: list[Tensor] = self.joint(self.of_heads(outputs))
        return predictions

    def of_heads(self, outputs: Tensor) -> list[Tensor]:
        """Return the same before a task that is given another is multiplied by the chance that it exists."""
        predictions, first = [], 0
        for state, (slope, shift) in zip(self.states, self.corrections, strict=True):
            output = outputs[:, first : first + state["outputs"]]
            first += state["outputs"]
            if state["kind"] == "regression":
                assert isinstance(shift, float)
                predictions.append(output * (slope * state["spread"]) + (state["center"] + shift * state["spread"]))
                continue
            bias = torch.tensor(state["bias"], dtype=output.dtype, device=output.device)
            moved = shift if isinstance(shift, float) else torch.tensor(shift, dtype=output.dtype, device=output.device)
            logits = bias + slope * (output - bias) + moved
            binary = state["kind"] == "binary"
            predictions.append(torch.sigmoid(logits) if binary else torch.softmax(logits, dim=1))
        return predictions


class Regions(nn.Module):
    """Predictions to intervals and sets that hold the label of a stated share of rows.

    Args:
        states: The tasks' states, in the order of the predictions.
        regions: What makes each task's interval or set; None = the task has none.
    """

    def __init__(self, states: list[TaskState], regions: list[Region | None]) -> None:
        super().__init__()
        self.states, self.regions = states, regions

    def forward(self, predictions: list[Tensor]) -> list[Tensor]:
        """Return the parts that `region_parts` names, for the tasks that have a region.

        Args:
            predictions: One per task, as `Predict` returns them.

        Returns:
            For a number lower and upper end, float32 [rows, 1] in the target's unit. For classes which of them the
            set holds, bool [rows, classes]; two for a binary task, first "no", then "yes".
        """
        parts: list[Tensor] = []
        for state, region, prediction in zip(self.states, self.regions, predictions, strict=True):
            if region is None:
                continue
            if state["kind"] == "regression":
                parts += [prediction - region.bounds[0], prediction + region.bounds[0]]
                continue
            binary = state["kind"] == "binary"
            probability = torch.cat([1 - prediction, prediction], dim=1) if binary else prediction
            parts.append(probability >= torch.tensor(region.bounds, dtype=prediction.dtype, device=prediction.device))
        return parts


def region_parts(state: TaskState) -> tuple[str, ...]:
    """Return the names of a task's interval or set, in the order in which `Regions` gives them."""
    return ("lower", "upper") if state["kind"] == "regression" else ("set",)
