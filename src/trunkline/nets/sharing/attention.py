"""Task attention: one trunk, and for each task a mask on every layer that lets through what the task needs.

in      prepared columns                                [rows, inputs]
out     each task's masked last layer                   [rows, tasks, width]
source  the attention modules of MTAN, Liu et al. 2019, "End-to-End Multi-Task Learning with Attention",
        arXiv:1803.10704, equations 1 and 2
Differs: made for fully connected layers: a mask comes from the layer it masks and the task's masked layer before it,
        through a bottleneck; no pooling, no batch normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class Attention(ManyTrunks):
    """One trunk seen through masks of each task. Suits tasks that need different parts of common features."""

    kind: Literal["attention"]
    bottleneck: int = Field(16, ge=1, le=1024, description="Units between a layer and its mask.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return the trunk and its masks; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.sharing._attention import Attended

        return Attended(inputs, tasks, self.layers_of(trunk), self.bottleneck)
