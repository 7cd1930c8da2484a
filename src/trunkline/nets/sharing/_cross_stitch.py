"""The torch side of cross-stitch networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.sharing._form import OwnOutputs
from trunkline.nets.trunks.base import BaseTrunk


class Stitch(nn.Module):
    """What each trunk takes of each, parts [(members,) tasks, tasks].

    Args:
        tasks: Trunks.
        first: What a trunk takes of itself at first.
    """

    def __init__(self, tasks: int, first: float) -> None:
        super().__init__()
        self.first = first
        self.parts = nn.Parameter(torch.empty(tasks, tasks))

    def initialise(self, generator: torch.Generator) -> None:
        """Take `first` of a trunk's own, and evenly of the others."""
        tasks = len(self.parts)
        nn.init.constant_(self.parts, (1 - self.first) / max(1, tasks - 1))
        with torch.no_grad():
            self.parts.fill_diagonal_(self.first if tasks > 1 else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed layers for `x` [(members,) tasks, rows, units]."""
        return torch.unflatten(torch.matmul(self.parts, x.flatten(-2)), -1, x.shape[-2:])


class Stitched(OwnOutputs):
    """A trunk per task with a stitch after every layer.

    Args:
        inputs: Width of the prepared columns.
        tasks: Trunks.
        trunk: One of them.
        first: What a trunk takes of itself at first.
    """

    def __init__(self, inputs: int, tasks: int, trunk: BaseTrunk, first: float) -> None:
        super().__init__()
        self.trunks = trunk.build(inputs, Layers(tasks))
        self.stitches = nn.ModuleList([Stitch(tasks, first) for _ in self.trunks.parts])

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The last stitch: what each head takes of each trunk."""
        return list(self.stitches[-1].parameters())

    @property
    def shared(self) -> Layered:
        """The trunks: through the last stitch every head reads all of them."""
        return self.trunks

    def forward(self, x: Tensor) -> Tensor:
        """Return the stitched trunks, [(members,) rows, tasks, width]."""
        for part, stitch in zip(self.trunks.parts, self.stitches, strict=True):
            x = stitch(part(x))
        return x.transpose(-3, -2)
