"""Dynamic weight average: tasks whose loss fell least lately get more say.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  Liu, Johns, Davison 2019, arXiv:1803.10704, equation 7
Differs: compares the last two stretches of `every` steps instead of the last two epochs, as three epochs are usual
        here. A stretch without a label of a task says nothing about it. TorchJD's DWA keeps its history outside its
        state_dict, so that a resumed training would differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.balance.base import LEAST_LOSS, LossMethod, Moment, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor


class DynamicWeights(LossMethod):
    """Weigh tasks by how slowly they learn. With losses that fall slowly it is close to equal weights."""

    kind: Literal["dwa"]
    temperature: float = Field(2.0, gt=0, le=1000, description="Larger = weights nearer to equal.")
    every: int = Field(100, ge=1, le=1_000_000, description="Steps of a stretch; the last two are compared.")
    remembered: ClassVar[Mapping[str, float]] = {
        "total": 0.0, "count": 0.0, "last": float("nan"), "before": float("nan"),
    }  # fmt: skip

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the mean of the losses, weighted by declared weight and slowness."""
        total, count, last, before = (numbers[name] for name in self.remembered)
        if moment.step and moment.step % self.every == 0:
            mean = total / count
            before.copy_(last.where(count > 0, before))
            last.copy_(mean.where(count > 0, last))
            total.zero_()
            count.zero_()
        ratio = (last / (before + LEAST_LOSS)).nan_to_num(nan=1.0)
        slowness = (ratio / self.temperature).softmax(dim=-1) * losses.shape[-1]
        total.add_(losses.detach() * known)
        count.add_(known)
        return weighted_mean(losses * slowness, numbers["weights"])
