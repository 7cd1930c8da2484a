"""The torch side of CGC and PLE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.sharing._gates import Gated, Gates, mixed, mixed_own
from trunkline.nets.trunks.base import BaseTrunk


class Level(nn.Module):
    """Shared experts beside the tasks' own, and a gate per task.

    Args:
        inputs: Width of what comes in.
        tasks: Tasks.
        trunk: One expert.
        shared: Experts of all tasks.
        own: Experts of each task.
        gate_dropout: Share of experts withheld from a gate.
    """

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, shared: int, own: int, gate_dropout: float) -> None:
        super().__init__()
        self.own_experts = own
        self.own, self.shared = (trunk.build(inputs, Layers(count)) for count in (tasks * own, shared))
        self.gates = Gates(inputs, tasks, own + shared, gate_dropout)

    def outputs(self, of_tasks: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the tasks' own and the shared experts give, [(members,) experts, rows, width] each.

        Args:
            of_tasks: What each task's experts read, [(members,) tasks, rows, inputs], or `common` at the first level.
            common: What the shared experts read, [(members,) rows, inputs].
        """
        if of_tasks.dim() > common.dim():
            of_tasks = of_tasks.repeat_interleave(self.own_experts, dim=-3) if self.own_experts > 1 else of_tasks
        return self.own(of_tasks), self.shared(common)

    def mix(self, of_tasks: Tensor, own: Tensor, shared: Tensor) -> Tensor:
        """Return each task's mixture, [(members,) tasks, rows, width]."""
        shares = self.gates(of_tasks)
        taken = shares.split((self.own_experts, shares.shape[-1] - self.own_experts), dim=-1)
        # Tasks in front, as the next level reads them: onnxruntime ends the process with a division by zero where a
        # product of no rows comes right behind a transposition.
        return mixed_own(taken[0], own) + mixed(taken[1], shared).transpose(-3, -2)


class Levels(Gated):
    """Levels one behind the other; what all share goes on beside what each task made of it.

    Args:
        inputs: Width of the prepared columns.
        tasks: Tasks.
        trunk: One expert of one level.
        levels: Their number.
        shared: Experts of all tasks, per level.
        own: Experts of each task, per level.
        gate_dropout: Share of experts withheld from a gate.
    """

    def __init__(
        self, inputs: int, tasks: int, trunk: BaseTrunk, levels: int, shared: int, own: int, gate_dropout: float
    ) -> None:
        super().__init__()
        width = trunk.widths[-1]
        widths = [inputs, *[width] * (levels - 1)]
        self.levels = nn.ModuleList([Level(each, tasks, trunk, shared, own, gate_dropout) for each in widths])
        # What is shared goes on from all experts of a level; after the last, nothing reads it.
        self.passes = nn.ModuleList([Gates(each, 1, tasks * own + shared, gate_dropout) for each in widths[:-1]])

    def experts(self, tasks: Sequence[str]) -> list[str]:
        """Return a name for each expert that a task may choose from."""
        level = self._last_level
        own, shared = level.own_experts, level.gates.logits.units - level.own_experts
        return [f"{kind} {number + 1}" for kind, count in (("own", own), ("shared", shared)) for number in range(count)]

    @property
    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    @property
    def _last_level(self) -> Level:
        return self._levels[-1]

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The last level's own experts and gates, and the gates before: what is earlier goes on to all tasks."""
        gates = [weight for level in self._levels[-2:] for weight in level.gates.parameters()]
        return [*self._last_level.own.parameters(), *gates]

    @property
    def shared(self) -> Layered:
        """The last level's shared experts."""
        return self._last_level.shared

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return per level the tasks' shares, [rows, tasks, experts]."""
        return [level.gates(of_tasks) for level, of_tasks in zip(self._levels, self._run(x)[0], strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's mixture of the last level, [(members,) rows, tasks, width]."""
        return self._run(x)[1].transpose(-3, -2)

    def _run(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what the tasks' gates read at each level, and the last mixture."""
        of_tasks, common, read = x, x, []
        for place, level in enumerate(self._levels):
            read.append(of_tasks)
            own, shared = level.outputs(of_tasks, common)
            of_tasks = level.mix(of_tasks, own, shared)
            if place < len(self.passes):
                common = mixed(self.passes[place](common), torch.cat([own, shared], dim=-3)).squeeze(-2)
        return read, of_tasks
