"""The torch side of TabM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layers
from trunkline.nets.trunks._mlp import MLP


class TabM(MLP):
    """Fully connected layers, run once per copy on inputs that the copy scales in its own way.

    Args:
        inputs: Width of what comes in.
        widths: Units of each layer.
        dropout: Share of each layer's units silenced per step, in each copy by itself.
        copies: Networks that share the layers.
        layers: Makes the layers.
    """

    def __init__(self, inputs: int, widths: list[int], dropout: float, copies: int, layers: Layers) -> None:
        super().__init__(inputs, widths, dropout, layers)
        self.copies = copies
        self.scales = nn.Parameter(torch.empty(copies, inputs))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw a sign for each copy and input."""
        with torch.no_grad():
            self.scales.copy_(torch.randint(0, 2, self.scales.shape, generator=generator) * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) copies, rows, width] for `x` [(members,) rows, inputs]."""
        of_copies = x.unsqueeze(-3) * self.scales.unsqueeze(-2)
        rows = of_copies.flatten(-3, -2)
        for layer in self:
            rows = layer(rows)
        return torch.unflatten(rows, -2, of_copies.shape[-3:-1])
