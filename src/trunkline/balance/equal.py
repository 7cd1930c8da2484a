"""Equal weights: the sum of the normalised losses, each times the user's priority.

With weights other than 1 this is manual weighting: `tasks.<name>.weight` is the place to say them.

in      one normalised loss per task, and the tasks' declared weights     (tasks,), (tasks,)
out     one loss                                                          ()
source  unitary scalarisation, Kurin et al. 2022, arXiv:2201.04122
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from trunkline.balance.base import LossMethod, Moment, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor


class EqualWeights(LossMethod):
    """Add the normalised losses, times tasks.<name>.weight. The row every other method is compared with."""

    kind: Literal["equal"] = "equal"

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the weighted mean; a task without a label adds nothing, as its loss is 0."""
        return weighted_mean(losses, numbers["weights"])
