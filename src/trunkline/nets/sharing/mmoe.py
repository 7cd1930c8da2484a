"""MMoE: several experts that all tasks share, and for each task a gate that mixes them anew for every row.

in      prepared columns                                [rows, inputs]
out     each task's mixture of the experts              [rows, tasks, width]
source  Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
        doi:10.1145/3219819.3220007, equations 6 and 7
Differs: gates start even (zero weights), so that no expert is left behind by its initial draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class MMoE(ManyTrunks):
    """Experts that all tasks mix by gates of their own. Suits tasks that are partly at odds."""

    kind: Literal["mmoe"]
    experts: int = Field(4, ge=1, le=256, description="Trunks side by side.")
    gate_dropout: float = Field(0.0, ge=0, lt=1, description="Share of experts withheld from a gate per row and step.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return experts and gates; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.sharing._mmoe import Experts

        return Experts(inputs, tasks, self.layers_of(trunk), self.experts, self.gate_dropout)
