"""Uncertainty weighting: each task's loss is divided by a learned variance, so that noisy tasks speak softly.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  Kendall, Gal, Cipolla 2018, arXiv:1705.07115, equations 7 and 10
Differs: one form for every kind of loss, exp(-s) L + s, as the losses are normalised (1.0 = constant prediction) and
        the factor 1/2 of a squared loss is a constant; s stays within [-5, 5], because a loss near 0 sends it to minus
        infinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.declared import Declared

if TYPE_CHECKING:
    from torch import Tensor, nn


class Uncertainty(Declared):
    """Learn a weight per task from how noisy it is. Suits tasks whose reachable losses lie far apart."""

    kind: Literal["uncertainty"]
    speed: float = Field(
        10.0, gt=0, le=1000, description="Step size of the learned variances, as a multiple of training.learning_rate."
    )

    def build(self, weights: Tensor) -> nn.Module:
        """Return the module that makes one loss of `[(members,) tasks]` losses.

        Args:
            weights: The tasks' declared weights, float32 [tasks].
        """
        from trunkline.balance._modules import LearnedVariances

        return LearnedVariances(weights)
