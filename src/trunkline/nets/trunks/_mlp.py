"""The torch side of the fully connected trunk."""

from __future__ import annotations

from torch import nn

from trunkline.nets.layers import Layered, Layers
from trunkline.nets.stack import Dropout, Linear


class MLP(Layered):
    """Fully connected layers with ReLU and dropout.

    Args:
        inputs: Width of what comes in.
        widths: Units of each layer.
        dropout: Share of each layer's units silenced per step.
        layers: Makes the layers.
    """

    def __init__(self, inputs: int, widths: list[int], dropout: float, layers: Layers) -> None:
        made: list[nn.Module] = []
        for units in widths:
            made += [layers.linear(inputs, units), nn.ReLU(), Dropout(dropout)]
            inputs = units
        super().__init__(*made)

    @property
    def parts(self) -> list[nn.Module]:
        """Each layer with its ReLU and dropout."""
        return [nn.Sequential(*list(self)[first : first + 3]) for first in range(0, len(self), 3)]

    def linear_of(self, layer: int) -> Linear:
        """Return the linear layer of a layer, from 1."""
        found = self[3 * (layer - 1)]
        assert isinstance(found, Linear)
        return found
