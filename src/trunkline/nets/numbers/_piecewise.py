"""The torch side of piecewise-linear numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.columns.layout import Layout
from trunkline.nets.numbers._features import Embedded
from trunkline.nets.stack import Linear

LOOK_ROWS = 50_000  # evenly spaced among the training rows; quantiles of more would hardly differ
NARROWEST = 1e-6  # of a bin, on the prepared scale; where a number has only a few values, bins are empty
FIRST_RANGE = (-2.0, 2.0)  # of the bins before any data was looked at


class Pieces(Linear):
    """A layer per number over its bins; at first it gives the same for each row."""

    def initialise(self, generator: torch.Generator) -> None:
        """Start without pieces, and draw the bias."""
        nn.init.zeros_(self.weight)
        draw_evenly(self.bias, generator)


class Piecewise(Embedded):
    """Numbers as a linear embedding plus a learned sum of the pieces of their bins.

    Args:
        layout: What the prepared features are.
        bins: Per number.
        width: Numbers that stand for one.
    """

    edges: Tensor

    def __init__(self, layout: Layout, bins: int, width: int) -> None:
        super().__init__(layout, width)
        count = len(layout.numbers)
        self.register_buffer("edges", torch.linspace(*FIRST_RANGE, bins + 1).repeat(count, 1))
        self.lines = nn.Parameter(torch.empty(count, width))
        self.pieces = Pieces(bins, width, count)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the linear embedding."""
        draw_evenly(self.lines, generator)

    def look_at(self, features: np.ndarray[Any, Any]) -> None:
        """Set the edges of the bins, float32 [numbers, bins + 1], to quantiles of the values that are not missing.

        Equal quantiles are one edge; the bins that are then lacking are empty, behind the last.
        """
        seen = np.asarray(features[:: max(1, len(features) // LOOK_ROWS)], dtype=np.float64)
        for edges, place in zip(self.edges, self.layout.numbers, strict=True):
            flag = self.layout.flag_of(place)
            values = seen[:, place] if flag is None else seen[seen[:, flag] == 0, place]
            if len(values):
                found = np.unique(np.quantile(values, np.linspace(0, 1, len(edges))))
                edges.copy_(torch.from_numpy(np.pad(found, (0, len(edges) - len(found)), mode="edge")))

    def encode(self, numbers: Tensor) -> Tensor:
        """Return how far each number has come through each bin, 0 to 1, [(members,) numbers, rows, bins]."""
        start, size = self.edges[:, :-1], self.edges.diff(dim=-1)
        slope = (size > NARROWEST) / size.clamp(min=NARROWEST)
        passed = numbers.transpose(-2, -1).unsqueeze(-1) - start.unsqueeze(-2)
        return (passed * slope.unsqueeze(-2)).clamp(0, 1)

    def embed(self, numbers: Tensor) -> Tensor:
        """Return [(members,) rows, numbers, width] for `numbers` [(members,) rows, numbers]."""
        pieces: Tensor = self.pieces(self.encode(numbers))
        return pieces.transpose(-3, -2) + numbers.unsqueeze(-1) * self.lines.unsqueeze(-3)


def draw_evenly(parameter: Tensor, generator: torch.Generator) -> None:
    """Draw `parameter` evenly within one over the root of its last dimension."""
    bound = 1 / parameter.shape[-1] ** 0.5
    nn.init.uniform_(parameter, -bound, bound, generator=generator)
