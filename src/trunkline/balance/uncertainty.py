"""Uncertainty weighting: each task's loss is divided by a learned variance, so that noisy tasks speak softly.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  Kendall, Gal, Cipolla 2018, arXiv:1705.07115, equations 7 and 10
Differs: one form for every kind of loss, exp(-s) L + s, as the losses are normalised (1.0 = constant prediction) and
        the factor 1/2 of a squared loss is a constant; s stays within [-5, 5], because a loss near 0 sends it to minus
        infinity. TorchJD's UW has neither the bounds nor a place for declared weights and tasks without labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.balance.base import LossMethod, Moment, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_LOG_VARIANCE = 5.0


class Uncertainty(LossMethod):
    """Learn a weight per task from how noisy it is. Suits tasks whose reachable losses lie far apart."""

    kind: Literal["uncertainty"]
    speed: float = Field(
        10.0, gt=0, le=1000, description="Step size of the learned variances, as a multiple of training.learning_rate."
    )
    learned: ClassVar[Sequence[str]] = ("log_variances",)

    @property
    def pace(self) -> float:
        """Step size of what is learned about the tasks, as a multiple of training.learning_rate."""
        return self.speed

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the weighted mean of exp(-s) L + s over the tasks with labels."""
        held = numbers["log_variances"].clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return weighted_mean(((-held).exp() * losses + held) * known, numbers["weights"])
