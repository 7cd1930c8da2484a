"""Oversampling: rows of rare classes are repeated in this task's loss.

in      rows per class
out     every class has at least ratio times the commonest's rows in an epoch; logits shifted by log of the repeats
source  van den Goorbergh et al. 2022, doi:10.1093/jamia/ocac093, on what it does to probabilities without the shift
Differs: rows are repeated in one task's loss, never in the batch, where copies would change what every other task
        learns from.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import Array, DrawRule


class Oversample(DrawRule):
    """Repeat rows of rare classes in this task's loss, by a draw per epoch. Other tasks see every row once."""

    kind: Literal["oversample"]
    ratio: float = Field(
        1.0, gt=0, le=1, description="Rows of each class per row of the commonest that an epoch has at least."
    )

    def weights(self, counts: Array) -> Array:
        """Return how often a row of each class is there."""
        times: Array = np.maximum(1.0, self.ratio * counts.max() / counts)
        return times
