"""The torch side of task attention."""

from __future__ import annotations

from torch import Tensor, nn

from trunkline.nets.layers import Layers
from trunkline.nets.sharing._form import OverTrunk
from trunkline.nets.stack import Linear
from trunkline.nets.trunks.base import BaseTrunk


class Mask(nn.Module):
    """The masks of all tasks on one layer.

    Args:
        units: Of the layer.
        tasks: Masks.
        bottleneck: Units between the layer and its mask.
        follows: Whether the masks also see what the tasks let through of the layer before.
    """

    def __init__(self, units: int, tasks: int, bottleneck: int, follows: bool) -> None:
        super().__init__()
        self.look = Linear(units, bottleneck, tasks)
        self.carry = Linear(units, bottleneck, tasks) if follows else None
        self.open = Linear(bottleneck, units, tasks)

    def forward(self, layer: Tensor, before: Tensor | None) -> Tensor:
        """Return what the tasks see of the layer, [(members,) tasks, rows, units].

        Args:
            layer: [(members,) rows, units].
            before: What they saw of the layer before, [(members,) tasks, rows, units].
        """
        seen = self.look(layer)
        if self.carry is not None:
            seen = seen + self.carry(before)
        masked: Tensor = self.open(seen.relu()).sigmoid() * layer.unsqueeze(-3)
        return masked


class Attended(OverTrunk):
    """One trunk with masks of every task on each layer.

    Args:
        inputs: Width of the prepared columns.
        tasks: Tasks.
        trunk: The trunk.
        bottleneck: Units between a layer and its mask.
    """

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, bottleneck: int) -> None:
        super().__init__()
        self.trunk = trunk.build(inputs, Layers())
        count = len(self.trunk.parts)
        self.masks = nn.ModuleList([Mask(self.width, tasks, bottleneck, place > 0) for place in range(count)])

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The masks."""
        return list(self.masks.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's masked last layer, [(members,) rows, tasks, width]."""
        seen: Tensor | None = None
        for part, mask in zip(self.trunk.parts, self.masks, strict=True):
            x = part(x)
            seen = mask(x, seen)
        assert seen is not None
        return seen.transpose(-3, -2)
