"""Undersampling: rows of common classes are left out of this task's loss, others in each epoch.

in      rows per class
out     every class has at most the rarest's rows / ratio in an epoch; logits shifted by the log of the share kept
source  Elkan 2001, "The Foundations of Cost-Sensitive Learning", theorem 1
Differs: a row left out still teaches the other tasks. It saves no time, therefore, and class_weights has the same
        mean with less noise; the draw is here for those who want to compare.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import Array, DrawRule


class Undersample(DrawRule):
    """Leave rows of common classes out of this task's loss, by a draw per epoch. Other tasks see every row."""

    kind: Literal["undersample"]
    ratio: float = Field(
        1.0, gt=0, le=1, description="Rows of the rarest class per row of any other that an epoch has left at most."
    )

    def weights(self, counts: Array) -> Array:
        """Return the share of each class that is kept."""
        kept: Array = np.minimum(1.0, counts.min() / self.ratio / counts)
        return kept
