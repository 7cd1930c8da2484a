"""Low-rank adapters: one trunk, and in each of its layers a small correction of rank r per task.

in      prepared columns                                [rows, inputs]
out     each task's corrected last layer                [rows, tasks, width]
source  Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, section 4.1, with an
        adapter per task as in multi-task use
Differs: trunk and adapters are trained together from the start, as there is no pretrained trunk to keep; alpha = r.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class LoRA(ManyTrunks):
    """One trunk with low-rank adapters per task. Starts as hard sharing; each task costs a pass through the trunk."""

    kind: Literal["lora"]
    rank: int = Field(4, ge=1, le=256, description="Rank of a task's correction of a layer.")

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return the trunk with its adapters; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.sharing._lora import Adapted

        return Adapted(inputs, tasks, self.layers_of(trunk), self.rank)
