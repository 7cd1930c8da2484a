"""CGC and PLE: experts that all tasks share beside experts of each task alone, in one level or several.

in      prepared columns                                        [rows, inputs]
out     each task's mixture of its own and the shared experts   [rows, tasks, width]
source  Tang et al. 2020, "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
        Personalized Recommendations", doi:10.1145/3383313.3412236, sections 4.1 (CGC) and 4.2 (PLE)
Differs: gates start even. A level's experts have the trunk's depth divided by the number of levels, so that the whole
        is as deep as the trunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class BaseCGC(ManyTrunks):
    """Shared experts beside the tasks' own."""

    shared_experts: int = Field(1, ge=1, le=256, description="Experts of all tasks, per level.")
    own_experts: int = Field(1, ge=1, le=64, description="Experts of each task alone, per level.")
    gate_dropout: float = Field(0.0, ge=0, lt=1, description="Share of experts withheld from a gate per row and step.")

    def _build(self, inputs: int, tasks: int, trunk: BaseTrunk, levels: int) -> Form:
        from trunkline.nets.sharing._cgc import Levels

        whole = self.layers_of(trunk)
        level = whole.model_copy(update={"depth": max(1, len(whole.widths) // levels)})
        return Levels(inputs, tasks, level, levels, self.shared_experts, self.own_experts, self.gate_dropout)


class CGC(BaseCGC):
    """Shared experts beside the tasks' own, one level. Suits tasks of which some gain and some lose by sharing."""

    kind: Literal["cgc"]

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return experts and gates; arguments as those of `BaseSharing.build`."""
        return self._build(inputs, tasks, trunk, 1)


class PLE(BaseCGC):
    """CGC in several levels: what is shared and what is a task's own part step by step."""

    kind: Literal["ple"]
    levels: int = Field(2, ge=1, le=16, description="Levels of experts, one behind the other.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return experts and gates; arguments as those of `BaseSharing.build`."""
        return self._build(inputs, tasks, trunk, self.levels)
