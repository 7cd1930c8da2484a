"""Smooth Tchebycheff: the worst task counts most, so that none is left behind.

in      one normalised loss per task, a reference per task        (tasks,), (tasks,)
out     one loss                                                  ()
source  Lin et al. 2024, "Smooth Tchebycheff Scalarization", arXiv:2402.19078, equation 7
Differs: declared weights are divided by their mean, not their sum, so that `smoothing` means the same with 2 and with
        20 tasks. TorchJD's STCH lets a task without labels take its share of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.balance.base import LossMethod, Moment

if TYPE_CHECKING:
    from torch import Tensor

ABSENT = -1e6  # the excess of a task without labels: its weight is exactly 0


class Tchebycheff(LossMethod):
    """Look after the worst task. With `reference` = the losses alone, it makes the largest loss by sharing small."""

    kind: Literal["tchebycheff"]
    smoothing: float = Field(
        0.1, gt=0, le=100, description="Losses within about this of the worst have a say, in shares of the constant's."
    )
    reference: dict[str, float] = Field(
        {},
        description="Per task the loss that it is compared with: its validation loss alone, from "
        "models/alone/<task>/history.tsv; of a task that is rebalanced its training loss there, which counts rows as "
        "this one does. Tasks not named: 0.",
    )
    normalized: ClassVar[bool] = True

    def fixed(self, tasks: Sequence[str]) -> dict[str, list[float]]:
        """Return the references in the order of the losses."""
        return {"references": [self.reference.get(task, 0.0) for task in tasks]}

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return a smooth maximum of the losses above their references."""
        weights = numbers["weights"] / numbers["weights"].mean()
        excess = (weights * (losses - numbers["references"])).masked_fill(~known, ABSENT)
        worst: Tensor = self.smoothing * (excess / self.smoothing).logsumexp(dim=-1)
        return worst
