"""The torch side of the task kinds: outputs of the heads to losses, and to predictions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.tasks import kind_of
from trunkline.tasks._given import Joint, JointLogits
from trunkline.tasks._head import Correction, Head
from trunkline.tasks.base import Part, TaskState
from trunkline.tasks.regression import HUBER_DELTA

__all__ = ["Correction", "Losses", "Predict", "Region", "Regions", "derived_parts", "head_of", "loss_scale",
           "loss_targets", "region_parts"]  # fmt: skip

LEAST_MISS = 1e-7  # below it, the slope of a power below 1 would be infinite


def head_of(state: TaskState) -> Head:
    """Return the torch side of a state's kind."""
    return kind_of(state).head()


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
    return head_of(state).targets(state, labels)


def loss_scale(state: TaskState, normalize: str) -> float:
    """Return what a task's raw loss is multiplied by.

    `constant`: one over the loss of the best constant prediction on the training labels, so that 1.0 means
    "no skill" for every task. `off`: numbers count in their own unit, squared or not as their loss is.
    """
    if normalize == "constant":
        return float(1.0 / state["constant_loss"])
    return head_of(state).unit(state)


class Losses(nn.Module):
    """Losses of all tasks, each over the rows that have a label; those of yes or no and of numbers in one step.

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
        heads = [head_of(state) for state in states]
        self.single = [place for place, head in enumerate(heads) if head.fused]
        self.apart = [place for place, head in enumerate(heads) if not head.fused]
        self.losses = nn.ModuleList(heads[place].loss(states[place]) for place in self.apart)
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
        order = self.single + self.apart
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
        for place, loss in zip(self.apart, self.losses, strict=True):
            first, last = self.slices[place]
            target = torch.where(known[..., place], targets[..., place], 0.0)
            losses = self._focal(loss(outputs[..., first:last], target), place)
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
        self.heads = [head_of(state) for state in states]

    def forward(self, outputs: Tensor) -> list[Tensor]:
        """Return one prediction per task [rows, columns], as its kind says: probabilities, or values.

        Args:
            outputs: float32 [rows, outputs of all tasks].
        """
        predictions: list[Tensor] = self.joint(self.of_heads(outputs))
        return predictions

    def of_heads(self, outputs: Tensor) -> list[Tensor]:
        """Return the same before a task that is given another is multiplied by the chance that it exists."""
        predictions, first = [], 0
        for head, state, correction in zip(self.heads, self.states, self.corrections, strict=True):
            predictions.append(head.predict(state, outputs[:, first : first + state["outputs"]], correction))
            first += state["outputs"]
        return predictions

    def derived(self, predictions: list[Tensor]) -> list[Tensor]:
        """Return what follows from the predictions, in the order of `derived_parts` of each task."""
        found = zip(self.heads, self.states, predictions, strict=True)
        return [part for head, state, prediction in found for part in head.derived(state, prediction)]


def derived_parts(state: TaskState) -> list[Part]:
    """Return the parts of a task that follow from its prediction."""
    return kind_of(state).parts(state)[1:]


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
            if kind_of(state).words(state) is None:
                parts += [prediction - region.bounds[0], prediction + region.bounds[0]]
                continue
            bounds = torch.tensor(region.bounds, dtype=prediction.dtype, device=prediction.device)
            parts.append(head_of(state).chances(prediction) >= bounds)
        return parts


def region_parts(state: TaskState) -> tuple[str, ...]:
    """Return the names of a task's interval or set, in the order in which `Regions` gives them."""
    return kind_of(state).regions
