"""What a balance method is: from the tasks' losses to one loss, or from the tasks' gradients to weights.

A method is one file: a subclass of one of the two below. It computes with the tensors or arrays that it is handed and
imports no torch, because reading params.yaml reads this room. What it must not forget between steps it names, and the
modules in `_modules.py` keep it, one number per task, where a checkpoint finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from trunkline.declared import Declared

if TYPE_CHECKING:
    from torch import Tensor

    from trunkline.balance._modules import FromGradients, FromLosses

Array = np.ndarray[Any, np.dtype[np.float64]]

LEAST_LOSS = 1e-3
"""Added to a loss before its logarithm: a task that is solved gets at most a thousand times the say of one at 1.0."""


class Moment(NamedTuple):
    """Where a training is, so that a draw by chance is the same after a resume."""

    step: int
    """From 0, over all epochs."""

    seeds: Sequence[int]
    """Of the members at hand: one, or those of the whole stack."""


class Method(Declared):
    """What every method has."""

    remembered: ClassVar[Mapping[str, float]] = {}
    """Numbers per task kept from step to step, each with its start; a method changes them in place."""

    normalized: ClassVar[bool] = False
    """Whether it compares losses, so that they must be shares of the constant predictor's."""

    weighted: ClassVar[bool] = True
    """Whether it heeds the tasks' declared weights."""

    @property
    def pace(self) -> float:
        """Step size of what is learned about the tasks, as a multiple of training.learning_rate."""
        return 1.0


class LossMethod(Method):
    """Makes one loss of the tasks' losses: the price of a step is that of the plain sum."""

    learned: ClassVar[Sequence[str]] = ()
    """Numbers per task that the optimiser moves, each from 0."""

    def fixed(self, tasks: Sequence[str]) -> dict[str, list[float]]:
        """Return the numbers per task that the user declared, beside the weights, in the order of `tasks`."""
        return {}

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return one loss [(members)].

        Args:
            losses: Mean loss per task over its labelled rows, float32 [(members,) tasks]; 0 where it has none.
            known: Whether the task has a labelled row, bool [(members,) tasks].
            numbers: `weights`, the declared ones, and `fixed`, [tasks]; learned and remembered, [(members,) tasks].
            moment: Step and seeds.
        """
        raise NotImplementedError

    def build(self, tasks: Sequence[str], weights: Tensor) -> FromLosses:
        """Return the module that the training calls.

        Args:
            tasks: The tasks' names, in the order of the losses.
            weights: Their declared weights, float32 [tasks].
        """
        from trunkline.balance._modules import FromLosses

        return FromLosses(self, tasks, weights)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return [(members)] for [(members,) tasks]; divided by all weights: a step does not grow with the tasks."""
    mean: Tensor = (losses * weights).sum(dim=-1) / weights.sum()
    return mean


class Seen(NamedTuple):
    """What a gradient method sees of one member: only tasks with a label in the rows and a gradient other than 0."""

    gramian: Array
    """Inner products of the tasks' gradients, float64 [tasks, tasks]."""

    priorities: Array
    """The declared weights, with mean 1 over all tasks, float64 [tasks]."""

    losses: Array
    """float64 [tasks]."""

    kept: Mapping[str, Array]
    """What is remembered, float64 [tasks]; changed in place."""

    stream: int
    """Seed for draws of this step."""


class GradientMethod(Method):
    """Weighs the tasks' gradients at the shared layers; see training/engine.py."""

    level: Literal["last", "all"] = Field(
        "last",
        description="Where gradients are compared. last: the weights and bias of the last layer that all tasks share, "
        "at nearly the price of equal weights; all: every shared parameter, one backward pass per task.",
    )
    every: int = Field(
        5, ge=1, le=10_000, description="Steps for which weights found once are used. 1 = found anew in each step."
    )
    rows: int | None = Field(
        256,
        ge=2,
        description="Rows of the batch on which gradients are compared, dropout off. null = all, as the step sees "
        "them. Says nothing with level: all.",
    )

    def solve(self, seen: Seen) -> Array:
        """Return a weight per task, float64 [tasks]; the step goes against the so weighted sum of the gradients."""
        raise NotImplementedError

    def build(self, tasks: Sequence[str], weights: Tensor) -> FromGradients:
        """Return the module that the training calls.

        Args:
            tasks: The tasks' names, in the order of the losses.
            weights: Their declared weights, float32 [tasks].
        """
        from trunkline.balance._modules import FromGradients

        return FromGradients(self, weights)


def unit_rows(gramian: Array) -> tuple[Array, Array]:
    """Return the Gramian of gradients of length 1, and the lengths they had."""
    lengths = np.sqrt(np.diag(gramian))
    return gramian / np.outer(lengths, lengths), lengths


def on_lengths(shares: Array, lengths: Array) -> Array:
    """Return weights of the gradients for `shares` of those of length 1, in a step about as long as the mean's.

    Args:
        shares: Of the gradients of length 1; only their ratios matter.
        lengths: Of the gradients.
    """
    total = np.abs(shares).sum()
    weights: Array = shares / (total if total > 0 else 1.0) * lengths.mean() / lengths
    return weights
