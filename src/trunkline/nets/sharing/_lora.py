"""The torch side of low-rank adapters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layers, Norm
from trunkline.nets.sharing._form import OverTrunk
from trunkline.nets.stack import Linear
from trunkline.nets.trunks.base import BaseTrunk


class AdaptedLinear(Linear):
    """One layer for all tasks, plus a correction of low rank for each; none at the start.

    Args:
        width: Of what comes in.
        units: Of what goes out.
        tasks: Corrections.
        rank: Of a correction.
    """

    def __init__(self, width: int, units: int, tasks: int, rank: int) -> None:
        super().__init__(width, units)
        self.down = nn.Parameter(torch.empty(tasks, rank, width))
        self.up = nn.Parameter(torch.empty(tasks, units, rank))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the layer as usual, and corrections that are zero."""
        super().initialise(generator)
        bound = 1 / self.down.shape[-1] ** 0.5
        nn.init.uniform_(self.down, -bound, bound, generator=generator)
        nn.init.zeros_(self.up)

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) tasks, rows, units].

        Args:
            x: [(members,) tasks, rows, width], or [(members,) rows, width] for all tasks.
        """
        if x.dim() == self.weight.dim():
            common, x = super().forward(x).unsqueeze(-3), x.unsqueeze(-3)
        else:
            # One product for the rows of all tasks.
            common = torch.unflatten(super().forward(x.flatten(-3, -2)), -2, x.shape[-3:-1])
        narrow = torch.matmul(x, self.down.transpose(-2, -1))
        return common + torch.matmul(narrow, self.up.transpose(-2, -1))


class AdaptedLayers(Layers):
    """Makes layers with a correction per task.

    Args:
        tasks: Corrections.
        rank: Of a correction.
    """

    def __init__(self, tasks: int, rank: int) -> None:
        super().__init__()
        self.tasks, self.rank = tasks, rank

    def linear(self, width: int, units: int) -> Linear:
        """Return a fully connected layer with its corrections."""
        return AdaptedLinear(width, units, self.tasks, self.rank)

    def norm(self, width: int) -> Norm:
        """Return a layer normalisation, one for all tasks."""
        return Norm(width, copies=1)


class Adapted(OverTrunk):
    """One trunk with corrections per task.

    Args:
        inputs: Width of the prepared columns.
        tasks: Tasks.
        trunk: The trunk.
        rank: Of a correction.
    """

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, rank: int) -> None:
        super().__init__()
        self.trunk = trunk.build(inputs, AdaptedLayers(tasks, rank))

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The corrections."""
        return [weight for part in self.modules() if isinstance(part, AdaptedLinear) for weight in (part.down, part.up)]

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's corrected last layer, [(members,) rows, tasks, width]."""
        corrected: Tensor = self.trunk(x)
        return corrected.transpose(-3, -2)
