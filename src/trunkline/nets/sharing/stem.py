"""STEM: tables of categorical values for each task beside a shared one; a task reads all and teaches its own.

in      prepared columns once per table, the shared one last    [tasks + 1, rows, inputs]
out     each task's mixture of all experts                      [rows, tasks, width]
source  Su et al. 2024, "STEM: Unleashing the Power of Embeddings for Multi-task Recommendation", arXiv:2308.13537,
        section 4: forward all, backward to one's own
Differs: one level; gates are one linear layer and start even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class STEM(ManyTrunks):
    """Tables of categorical values per task. Suits data of large vocabularies that mean different things to tasks."""

    kind: Literal["stem"]
    shared_experts: int = Field(1, ge=1, le=256, description="Experts over the shared table.")
    own_experts: int = Field(1, ge=1, le=64, description="Experts over each task's table.")
    gate_dropout: float = Field(0.0, ge=0, lt=1, description="Share of experts withheld from a gate per row and step.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return experts and gates; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.sharing._stem import OwnTables

        return OwnTables(inputs, tasks, self.layers_of(trunk), self.shared_experts, self.own_experts, self.gate_dropout)
