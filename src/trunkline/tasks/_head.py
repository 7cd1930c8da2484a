"""What the torch side of a task kind does: outputs of its head to a loss, and to a calibrated prediction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from trunkline.tasks.base import TaskState

Array = np.ndarray[Any, Any]


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


class Head:
    """The torch side of a task kind; without memory, as all it needs stands in the task's state."""

    fused = False
    """Whether `Losses` computes the loss together with those of other tasks, see there."""
    uncorrected = ""
    """Why calibration leaves the outputs as they are; "" where it does not."""

    def targets(self, state: TaskState, labels: Array) -> Tensor:
        """Return float32 targets [rows] as the loss reads them, NaN = no label.

        Args:
            state: The task's state.
            labels: What `encode` of the kind returned, float32 [rows].
        """
        return torch.from_numpy(np.array(labels))

    def unit(self, state: TaskState) -> float:
        """Return what makes the raw loss one in the target's own unit, for `normalize: off`."""
        return 1.0

    def loss(self, state: TaskState) -> nn.Module:
        """Return what makes the raw loss per row [(members,) rows] of outputs and targets.

        It takes outputs [(members,) rows, outputs of the task] and targets [(members,) rows], 0 = no label.
        """
        raise NotImplementedError

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the prediction that is scored [rows, columns], from outputs [rows, outputs of the task]."""
        raise NotImplementedError

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the outputs that predict the mean of what copies predict, [(members,) rows, outputs of the task].

        Args:
            state: The task's state.
            outputs: Of the copies, [(members,) copies, rows, outputs of the task].
        """
        return outputs.mean(dim=copies_of(outputs))

    def derived(self, state: TaskState, prediction: Tensor) -> list[Tensor]:
        """Return what follows from the prediction, in the order of the kind's further `parts`."""
        return []

    def chances(self, prediction: Tensor) -> Tensor:
        """Return the probability of each class [rows, classes], of a kind that has classes."""
        return prediction

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Return slope and shift.

        Args:
            state: The task's state.
            outputs: The head's outputs on labelled rows, float64 [rows, outputs].
            targets: What the loss reads, float [rows]; none of them NaN.
            kind: "slope" or "affine".
        """
        return Correction()


def copies_of(outputs: Tensor) -> int:
    """Return the dimension of the copies in their outputs, [(members,) copies, rows, outputs].

    Counted from the front: onnxruntime gives a sum of no rows the wrong shape where it is counted from the end.
    """
    return outputs.dim() - 3


def mean_logit(outputs: Tensor) -> Tensor:
    """Return the logit of the mean of the copies' probabilities, [(members,) rows, outputs]."""
    copies = copies_of(outputs)
    return logsigmoid(outputs).logsumexp(dim=copies) - logsigmoid(-outputs).logsumexp(dim=copies)


def corrected(state: TaskState, output: Tensor, correction: Correction) -> Tensor:
    """Return corrected outputs about the state's bias [rows, outputs]."""
    slope, shift = correction
    bias = torch.tensor(state["bias"], dtype=output.dtype, device=output.device)
    moved = shift if isinstance(shift, float) else torch.tensor(shift, dtype=output.dtype, device=output.device)
    return bias + slope * (output - bias) + moved
