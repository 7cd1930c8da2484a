"""Log losses: the sum of the logarithms, as if the geometric mean of the losses were made small.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  geometric loss, Chennupati et al. 2019, arXiv:1904.08492; as a sum of logs "SI" in Nash-MTL, arXiv:2202.01017
Differs: LEAST_LOSS is added to each loss, so that a loss of 0 has a bounded weight; the declared weights are the
        exponents. TorchJD's GeometricMean has neither, and a task without labels makes it 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from trunkline.balance.base import LEAST_LOSS, LossMethod, Moment, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor


class LogLosses(LossMethod):
    """Add the logarithms of the losses: a percent less of any loss is worth the same. Suits unequally hard tasks."""

    kind: Literal["log"]

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the weighted mean of the log losses of the tasks with labels."""
        return weighted_mean((losses + LEAST_LOSS).log() * known, numbers["weights"])
