"""Equal weights: the sum of the normalised losses, each times the user's priority.

in      one normalised loss per task, and the tasks' declared weights     (tasks,), (tasks,)
out     one loss                                                          ()
source  unitary scalarisation, Kurin et al. 2022, arXiv:2201.04122
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from trunkline.declared import Declared

if TYPE_CHECKING:
    from torch import Tensor, nn


class EqualWeights(Declared):
    """Add the normalised losses. The default, and the row every other method is compared with."""

    kind: Literal["equal"] = "equal"
    speed: ClassVar[float] = 1.0  # nothing is learned about the tasks

    def build(self, weights: Tensor) -> nn.Module:
        """Return the module that makes one loss of `[(members,) tasks]` losses.

        Args:
            weights: The tasks' declared weights, float32 [tasks].
        """
        from trunkline.balance._modules import WeightedMean

        return WeightedMean(weights)
