"""The torch side of STEM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.sharing._gates import Gated, Gates, mixed, mixed_own
from trunkline.nets.trunks.base import BaseTrunk


class OwnTables(Gated):
    """Experts over each task's table and the shared one; no task moves another's.

    Args:
        inputs: Width of the prepared columns.
        tasks: Tasks.
        trunk: One expert.
        shared: Experts over the shared table.
        own: Experts over each task's table.
        gate_dropout: Share of experts withheld from a gate.
    """

    others: Tensor

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, shared: int, own: int, gate_dropout: float) -> None:
        super().__init__()
        self.tasks, self.of_task, self.tables = tasks, own, tasks + 1
        self.own_experts = trunk.build(inputs, Layers(tasks * own))
        self.shared_experts = trunk.build(inputs, Layers(shared))
        self.gates = Gates(inputs, tasks, tasks * own + shared, gate_dropout)
        foreign = (1 - torch.eye(tasks)).repeat_interleave(own, dim=1)
        self.register_buffer("others", foreign, persistent=False)

    def experts(self, tasks: Sequence[str]) -> list[str]:
        """Return a name for each expert, those of the first task first."""
        shared = self.gates.logits.units - self.tasks * self.of_task
        own = [f"{task} {number + 1}" for task in tasks for number in range(self.of_task)]
        return own + [f"shared {number + 1}" for number in range(shared)]

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """Own experts and gates; the tables lie in one with the shared one."""
        return [*self.own_experts.parameters(), *self.gates.parameters()]

    @property
    def shared(self) -> Layered:
        """The experts over the shared table."""
        return self.shared_experts

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return the one level's shares, [rows, tasks, experts]."""
        of_tasks, common = self._parted(x)
        return [self.gates(of_tasks + common.unsqueeze(-3))]

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's mixture, [(members,) rows, tasks, width], for `x` [(members,) tables, rows, inputs]."""
        of_tasks, common = self._parted(x)
        repeated = of_tasks.repeat_interleave(self.of_task, dim=-3) if self.of_task > 1 else of_tasks
        own, shared = self.own_experts(repeated), self.shared_experts(common)
        of_own, of_shared = self.shares(x)[0].tensor_split([self.tasks * self.of_task], dim=-1)
        foreign = mixed(of_own * self.others, own.detach())
        # Of its own experts each task's share stands in a block on the diagonal.
        blocks = torch.unflatten(of_own * (1 - self.others), -1, (self.tasks, self.of_task)).sum(dim=of_own.dim() - 1)
        return mixed_own(blocks, own).transpose(-3, -2) + foreign + mixed(of_shared, shared)

    def _parted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what was read from the tasks' tables, and from the shared one."""
        return x[..., :-1, :, :], x[..., -1, :, :]
