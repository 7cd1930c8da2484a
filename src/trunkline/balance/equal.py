"""Equal weights: the sum of the normalised losses, each times the user's priority.

in      one normalised loss per task, and the tasks' declared weights     (tasks,), (tasks,)
out     one loss                                                          ()
source  unitary scalarisation, Kurin et al. 2022, arXiv:2201.04122
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.declared import Declared

if TYPE_CHECKING:
    from torch import Tensor


class EqualWeights(Declared):
    """Add the normalised losses. The default, and the row every other method is compared with."""

    kind: Literal["equal"] = "equal"

    def combine(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted mean of `losses` [tasks], so that the step does not grow with the number of tasks."""
        return (losses * weights).sum() / weights.sum()
