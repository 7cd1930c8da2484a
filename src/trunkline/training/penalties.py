"""All fairness penalties of an arm as one term of its loss."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from trunkline.tasks.base import TaskState
from trunkline.training.batches import Batch
from trunkline.training.fairness import FairnessPenalty


class Penalties(nn.Module):
    """Calls each penalty with the logits, labels and groups that it is about.

    Args:
        declared: The penalties on tasks of the arm, each with the number of groups of its column.
        states: The arm's tasks, in the order of their heads.
        members: Seeds that are trained together.
    """

    def __init__(self, declared: list[tuple[FairnessPenalty, int]], states: dict[str, TaskState], members: int) -> None:
        super().__init__()
        names = list(states)
        starts = [0, *accumulate(state["outputs"] for state in states.values())]
        self.tasks = [names.index(penalty.task) for penalty, _ in declared]
        self.columns = [starts[task] for task in self.tasks]
        self.parts = nn.ModuleList(penalty.build(members, count, states[penalty.task]) for penalty, count in declared)

    def forward(self, outputs: Tensor, batch: Batch, members: int | slice) -> Tensor:
        """Return the price of all gaps [(members,)].

        Args:
            outputs: Of all heads, float32 [(members,) rows, outputs].
            batch: The rows, [(members,) rows, ...] each.
            members: Whose rows these are: all, or the place of one.
        """
        price = torch.zeros(outputs.shape[:-2], device=outputs.device)
        for place, (part, column, task) in enumerate(zip(self.parts, self.columns, self.tasks, strict=True)):
            price = price + part(outputs[..., column], batch.groups[..., place], batch.targets[..., task], members)
        return price
