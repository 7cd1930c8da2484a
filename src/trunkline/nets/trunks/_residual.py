"""The torch side of the residual trunk."""

from __future__ import annotations

from torch import Tensor, nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.stack import Dropout, Linear


class Block(nn.Module):
    """What comes in plus what two layers make of it.

    Args:
        width: Of what comes in and goes out.
        dropout: Share of the units silenced per step, after each layer.
        layers: Makes the layers.
    """

    def __init__(self, width: int, dropout: float, layers: Layers) -> None:
        super().__init__()
        self.norm, self.first, self.second = (
            layers.norm(width),
            layers.linear(width, width),
            layers.linear(width, width),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., rows, width] for `x` of that shape."""
        inner = self.dropout(self.first(self.norm(x)).relu())
        total: Tensor = x + self.dropout(self.second(inner))
        return total


class Residual(Layered):
    """A first layer, residual blocks, a last normalisation with ReLU.

    Args:
        inputs: Width of what comes in.
        widths: Width of each block; all the same.
        dropout: Share of the units silenced per step.
        layers: Makes the layers.
    """

    def __init__(self, inputs: int, widths: list[int], dropout: float, layers: Layers) -> None:
        *blocks, final = [Block(width, dropout, layers) for width in widths]
        end = nn.Sequential(final, layers.norm(widths[-1]), nn.ReLU())
        super().__init__(layers.linear(inputs, widths[0]), *blocks, end)

    @property
    def layers(self) -> list[nn.Module]:
        """The blocks, the first with the layer before it."""
        first, *blocks = self
        return [nn.Sequential(first, blocks[0]), *blocks[1:]]

    def linear_of(self, layer: int) -> Linear:
        """Return a block's last linear layer; the sum goes past it, so not all that comes after went through it."""
        block = next(part for part in self[layer].modules() if isinstance(part, Block))
        return block.second
