"""Cross-stitch: a trunk per task, and after every layer each takes a learned part of all the others.

in      prepared columns                                [rows, inputs]
out     each task's trunk                               [rows, tasks, width]
source  Misra et al. 2016, "Cross-stitch Networks for Multi-task Learning", arXiv:1604.03539, equation 1
Differs: one number per pair of tasks and layer, not one per unit; with more than two tasks, the parts of the others
        share what `own` leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class CrossStitch(ManyTrunks):
    """A trunk per task, stitched together after every layer. Suits a few tasks; it learns how much to share."""

    kind: Literal["cross_stitch"]
    own: float = Field(0.9, gt=0, le=1, description="What a task takes of its own layer at first; the others the rest.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return the trunks and their stitches; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.sharing._cross_stitch import Stitched

        return Stitched(inputs, tasks, self.layers_of(trunk), self.own)
