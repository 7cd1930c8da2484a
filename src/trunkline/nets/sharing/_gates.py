"""Gates: how much each task takes of each expert, row by row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trunkline.nets.sharing._form import OwnOutputs
from trunkline.nets.stack import Dropout, Linear


class Gates(nn.Module):
    """A softmax over experts for each of several readers, even at the start.

    Args:
        inputs: Width of what the gates look at.
        readers: Tasks, or what else reads the experts.
        experts: To choose from.
        dropout: Share of a row's experts that a gate must do without, per step; the others are turned up for them.
    """

    def __init__(self, inputs: int, readers: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.logits = Linear(inputs, experts, readers, scale=0.0)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return shares that add up to 1, [(members,) rows, readers, experts].

        Args:
            x: [(members,) readers, rows, inputs], or [(members,) rows, inputs] for all readers.
        """
        shares: Tensor = self.logits(x).softmax(dim=-1).transpose(-3, -2)
        if not (self.training and self.dropout.cut):
            return shares
        kept = self.dropout(shares)
        total = kept.sum(dim=-1, keepdim=True)
        # Where a gate lost all its experts, it keeps them.
        return torch.where(total > 0, kept / torch.where(total > 0, total, 1.0), shares)


def mixed(shares: Tensor, experts: Tensor) -> Tensor:
    """Return each reader's mixture of the experts, [(members,) rows, readers, units].

    Args:
        shares: [(members,) rows, readers, experts].
        experts: Their outputs, [(members,) experts, rows, units].
    """
    return torch.matmul(shares, experts.transpose(-3, -2))


def mixed_own(shares: Tensor, experts: Tensor) -> Tensor:
    """Return each task's mixture of experts that are its alone, [(members,) tasks, rows, units].

    Args:
        shares: [(members,) rows, tasks, experts of one task].
        experts: Their outputs, [(members,) tasks * experts of one task, rows, units], the first task's first.
    """
    of_tasks = torch.unflatten(experts, -3, (shares.shape[-2], shares.shape[-1]))
    turned = shares.movedim(-3, -1).unsqueeze(-1)  # [(members,) tasks, experts, rows, 1]
    # Counted from the front: onnxruntime gives a sum of no rows the wrong shape where it is counted from the end.
    return (of_tasks * turned).sum(dim=of_tasks.dim() - 3)


class Gated(OwnOutputs):
    """A form with gates, which can be watched."""

    @abstractmethod
    def experts(self, tasks: Sequence[str]) -> list[str]:
        """Return a name for each expert that a task may choose from; `own` is that of the task that chooses.

        Args:
            tasks: The tasks' names.
        """

    @abstractmethod
    def shares(self, x: Tensor) -> list[Tensor]:
        """Return per level what each task takes of each expert, [rows, tasks, experts], for `x` [rows, inputs]."""
