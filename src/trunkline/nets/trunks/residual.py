"""Residual blocks: each adds to what comes in what two layers make of it, after a normalisation.

in      prepared columns                                [rows, inputs]
out     the normalised sum after the last block         [rows, width]
source  the ResNet of Gorishniy et al. 2021, arXiv:2106.11959, section 3.2
Differs: LayerNorm in the place of BatchNorm, which would mix the rows of a batch and tasks with few labels; the two
        layers of a block are of one width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.layers import Layered, Layers


class ResidualTrunk(BaseTrunk):
    """Residual blocks with layer normalisation; `depth` counts blocks of two layers. Suits deeper trunks."""

    kind: Literal["residual"]

    def build(self, inputs: int, layers: Layers) -> Layered:
        """Return the trunk, or several side by side; arguments as those of `BaseTrunk.build`."""
        from trunkline.nets.trunks._residual import Residual

        return Residual(inputs, self.widths, self.dropout, layers)
