"""The torch side of periodic numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trunkline.columns.layout import Layout
from trunkline.nets.numbers._features import Embedded
from trunkline.nets.stack import Linear

FURTHEST = 3.0  # spreads; no frequency starts beyond


class Periodic(Embedded):
    """Numbers as cosines and sines of learned frequencies, through one layer with ReLU for all numbers.

    Args:
        layout: What the prepared features are.
        frequencies: Per number.
        sigma: Spread of the frequencies at first.
        width: Numbers that stand for one.
    """

    def __init__(self, layout: Layout, frequencies: int, sigma: float, width: int) -> None:
        super().__init__(layout, width)
        self.sigma = sigma
        self.frequencies = nn.Parameter(torch.empty(len(layout.numbers), frequencies))
        self.mix = Linear(2 * frequencies, width)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the frequencies from a normal distribution without its ends."""
        furthest = FURTHEST * self.sigma
        nn.init.trunc_normal_(self.frequencies, 0.0, self.sigma, -furthest, furthest, generator=generator)

    def embed(self, numbers: Tensor) -> Tensor:
        """Return [(members,) rows, numbers, width] for `numbers` [(members,) rows, numbers]."""
        angles = 2 * math.pi * numbers.unsqueeze(-1) * self.frequencies.unsqueeze(-3)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        mixed: Tensor = self.mix(waves.flatten(-3, -2)).relu()
        return torch.unflatten(mixed, -2, waves.shape[-3:-1])
