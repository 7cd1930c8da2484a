"""The layers that trunks are made of, and several trunks side by side as one.

`Layers(copies=4)` makes every layer of a trunk four times over: its weights have one more dimension in front,
[copies, ...], so that all four are one batched product. What goes through them is [(members,) copies, rows, width];
what comes in may be [(members,) rows, width], the same for all copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trunkline.nets.stack import Linear


class Norm(nn.Module):
    """Layer normalisation, weight and bias [(members,) (copies,) width].

    Args:
        width: Of what is normalised.
        copies: Side by side; 1 = one for all there are. None = `x` has no such dimension.
    """

    def __init__(self, width: int, copies: int | None = None) -> None:
        super().__init__()
        shape = (width,) if copies is None else (copies, width)
        self.weight, self.bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))

    def initialise(self, generator: torch.Generator) -> None:
        """Start as the plain normalisation."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) (copies,) rows, width] for `x` of that shape."""
        plain = functional.layer_norm(x, x.shape[-1:])
        return plain * self.weight.unsqueeze(-2) + self.bias.unsqueeze(-2)


class Layers:
    """Makes the layers of one trunk, or of several side by side.

    Args:
        copies: Trunks side by side; None = one, without that dimension.
    """

    def __init__(self, copies: int | None = None) -> None:
        self.copies = copies

    def linear(self, width: int, units: int) -> Linear:
        """Return a fully connected layer."""
        return Linear(width, units, self.copies)

    def norm(self, width: int) -> Norm:
        """Return a layer normalisation."""
        return Norm(width, self.copies)


class Layered(nn.Sequential):
    """A trunk: layers one after the other. As a form of sharing it is the plain one: all heads read its output."""

    own = False  # see nets/sharing/_form.py

    @property
    def parts(self) -> list[nn.Module]:
        """What is run one after the other; outputs of each are of one width."""
        return list(self)

    @property
    def layers(self) -> list[nn.Module]:
        """The declared layers, run one after the other."""
        return self.parts

    @property
    def last(self) -> Linear:
        """The last linear layer."""
        return self.linear_of(len(self.layers))

    def linear_of(self, layer: int) -> Linear:
        """Return the last linear layer of a declared layer, from 1."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Of what comes out."""
        return self.last.units
