"""TabM: many networks for little more than one: all copies share their layers, and differ in how they see the inputs.

in      prepared columns                                [rows, inputs]
out     each copy's last layer                          [copies, rows, width]
source  TabM-mini of Gorishniy et al. 2024, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
        Ensembling", arXiv:2410.24210, section 3.3: one scale per copy and input, heads per copy
Differs: the scales start as random signs, one by one, whatever number or category an input belongs to.

Each copy learns by its own loss, and a step descends their mean. What is scored, calibrated and exported is the mean
of their predictions: of probabilities and values, not of logits. So in history.tsv the loss of training is the mean of
the copies' losses, and that of validation the loss of their mean prediction, which is the smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.layers import Layered, Layers


class TabMTrunk(BaseTrunk):
    """Fully connected layers run by several copies whose predictions are averaged. The best, at the price of each."""

    kind: Literal["tabm"]
    copies: int = Field(
        8, ge=1, le=256, description="Networks that share the layers; a step costs nearly as many times as much."
    )
    forms: ClassVar[tuple[str, ...] | None] = ("hard",)

    def build(self, inputs: int, layers: Layers) -> Layered:
        """Return the trunk; arguments as those of `BaseTrunk.build`."""
        from trunkline.nets.trunks._tabm import TabM

        return TabM(inputs, self.widths, self.dropout, self.copies, layers)
