"""Class weights: a row counts the more, the rarer its class.

in      rows per class
out     w_c = (1 / share of class c) ^ power, with mean 1 over the rows; logits shifted by log w_c
source  King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4; the shift is what they call prior
        correction
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trunkline.data.rebalance.base import Array, ClassRule


class ClassWeights(ClassRule):
    """Rare classes count more. Weights, not copies: the noise of a rare class grows with its weight."""

    kind: Literal["class_weights"]
    power: float = Field(
        1.0, ge=0, le=1, description="1: all classes count the same in all; 0.5: half way on a log scale; 0: as equal."
    )

    def weights(self, counts: Array) -> Array:
        """Return the power of the inverse counts."""
        weights: Array = counts**-self.power
        return weights
