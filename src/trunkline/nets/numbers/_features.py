"""The torch side of what numbers become, as far as it is common."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.columns.layout import Layout


class Features(nn.Module):
    """Prepared features as they are.

    Args:
        layout: What they are.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    @property
    def columns(self) -> list[int]:
        """The input that each number of what goes out comes from."""
        return list(self.layout.columns)

    def look_at(self, features: np.ndarray[Any, Any]) -> None:
        """Learn from the prepared training features, float32 [rows, width], what is data and no weight."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [(members,) rows, ...] for prepared features [(members,) rows, width]."""
        return features


class Embedded(Features):
    """Prepared features in which each number became several, the flags behind them.

    Args:
        layout: What they are; at least one is a number.
        width: Numbers that stand for one.
    """

    numbers: Tensor
    flags: Tensor

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__(layout)
        self.width = width
        self.register_buffer("numbers", torch.tensor(layout.numbers), persistent=False)
        self.register_buffer("flags", torch.tensor(layout.others, dtype=torch.int64), persistent=False)

    @property
    def columns(self) -> list[int]:
        """The input that each number of what goes out comes from."""
        of_numbers = [self.layout.columns[place] for place in self.layout.numbers for _ in range(self.width)]
        return of_numbers + [self.layout.columns[place] for place in self.layout.others]

    def embed(self, numbers: Tensor) -> Tensor:
        """Return [(members,) rows, numbers, width] for `numbers` [(members,) rows, numbers]."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Return [(members,) rows, numbers * width + flags] for prepared features [(members,) rows, width]."""
        embedded = self.embed(features.index_select(-1, self.numbers)).flatten(-2)
        if not len(self.flags):
            return embedded
        return torch.cat([embedded, features.index_select(-1, self.flags)], dim=-1)
