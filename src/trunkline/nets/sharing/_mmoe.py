"""The torch side of MMoE."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.sharing._gates import Gated, Gates, mixed
from trunkline.nets.trunks.base import BaseTrunk


class Experts(Gated):
    """Trunks side by side, mixed by a gate per task.

    Args:
        inputs: Width of the prepared columns.
        tasks: Gates.
        trunk: One expert.
        experts: Their number.
        gate_dropout: Share of experts withheld from a gate.
    """

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, experts: int, gate_dropout: float) -> None:
        super().__init__()
        self.trunks = trunk.build(inputs, Layers(experts))
        self.gates = Gates(inputs, tasks, experts, gate_dropout)

    def experts(self, tasks: Sequence[str]) -> list[str]:
        """Return a name for each expert."""
        return [f"shared {number}" for number in range(1, self.gates.logits.units + 1)]

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The gates."""
        return list(self.gates.parameters())

    @property
    def shared(self) -> Layered:
        """The experts."""
        return self.trunks

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return the one level's shares, [rows, tasks, experts]."""
        return [self.gates(x)]

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's mixture, [(members,) rows, tasks, width]."""
        return mixed(self.gates(x), self.trunks(x))
