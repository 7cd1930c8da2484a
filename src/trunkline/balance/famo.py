"""FAMO: weights that let the logarithms of all losses fall at the same pace, learned from the losses alone.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  Liu et al. 2023, "FAMO: Fast Adaptive Multitask Optimization", arXiv:2306.03792, algorithm 1
Differs: what a step did to the losses is read from the next batch instead of from a second look at the same one,
        which would be a second forward pass. The difference of batches is noise of mean 0 and averages out over
        steps; the weights lag one step. They decay by 0, and move with `speed` instead of a rate of their own.
        TorchJD's FAMO owns its optimiser, which no checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.balance.base import LEAST_LOSS, LossMethod, Moment

if TYPE_CHECKING:
    from torch import Tensor


class Famo(LossMethod):
    """Let all tasks improve at one pace. Suits tasks that learn at very different speeds."""

    kind: Literal["famo"]
    speed: float = Field(
        10.0, gt=0, le=1000, description="Step size of the learned weights, as a multiple of training.learning_rate."
    )
    learned: ClassVar[Sequence[str]] = ("preferences",)
    remembered: ClassVar[Mapping[str, float]] = {"before": float("nan")}

    @property
    def pace(self) -> float:
        """Step size of what is learned about the tasks, as a multiple of training.learning_rate."""
        return self.speed

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the log losses by learned weights; its gradient also moves the preferences."""
        logs, before = (losses + LEAST_LOSS).log(), numbers["before"]
        shares = (numbers["preferences"] + numbers["weights"].log()).softmax(dim=-1) * known
        shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=1e-12)
        held = shares.detach()
        scale = (held / (losses.detach() + LEAST_LOSS)).sum(dim=-1).clamp(min=1e-12)
        fallen = (before - logs.detach()).nan_to_num(nan=0.0) * known
        moves = (shares * fallen).sum(dim=-1)  # its gradient lowers the say of tasks that fell more than the others
        before.copy_(logs.detach().where(known, before.new_tensor(float("nan"))))
        return (held * logs).sum(dim=-1) / scale + moves - moves.detach()
