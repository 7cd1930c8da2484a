"""Weights by the effective number of rows: further rows of a common class count ever less.

in      rows n_c per class
out     w_c = (1 - beta) / (1 - beta ^ n_c), with mean 1 over the rows; logits shifted by log w_c
source  Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", arXiv:1901.05555, equation 8
Differs: weights have mean 1 over the rows, not over the classes, so that the task keeps its say among the others.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import Array, ClassRule


class EffectiveNumber(ClassRule):
    """As class weights, but a class with well over 1 / (1 - beta) rows counts as if it had that many."""

    kind: Literal["effective_number"]
    beta: float = Field(0.999, ge=0, lt=1, description="0: as equal; towards 1: as class_weights with power 1.")

    def weights(self, counts: Array) -> Array:
        """Return one over the effective numbers."""
        weights: Array = (1 - self.beta) / (1 - np.power(self.beta, counts))
        return weights
