"""Fully connected layers, each with ReLU and dropout.

in      prepared columns                                [rows, inputs]
out     the last layer                                  [rows, width]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.layers import Layered, Layers


class MLPTrunk(BaseTrunk):
    """Fully connected layers with ReLU and dropout, over all prepared columns at once."""

    kind: Literal["mlp"] = "mlp"

    def build(self, inputs: int, layers: Layers) -> Layered:
        """Return the trunk, or several side by side; arguments as those of `BaseTrunk.build`."""
        from trunkline.nets.trunks._mlp import MLP

        return MLP(inputs, self.widths, self.dropout, layers)
