"""Aligned-MTL: turn the gradients into orthogonal ones of one length, as near to the given ones as can be.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient                   (tasks,)
source  Senushkin et al. 2023, "Independent Component Alignment for Multi-Task Learning", arXiv:2305.19000
Differs: the length is the mean of the singular values, as in the authors' program, not the smallest: that one is close
        to 0 where two tasks agree, and the shared layers would hardly move. TorchJD finds the rank in float64, in
        which the rounding of float32 gradients counts as a direction of its own; so this is ours, and a test compares
        the two where the gradients are independent.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trunkline.balance.base import Array, GradientMethod, Seen

ROUNDING = 1e-9  # eigenvalues below this share of the largest are the rounding of float32 gradients


class AlignedMTL(GradientMethod):
    """Decorrelate the tasks' gradients. Suits tasks whose gradients differ in direction and in length."""

    kind: Literal["aligned_mtl"]

    def solve(self, seen: Seen) -> Array:
        """Return the weights of the mean, by declared weight, of the aligned gradients."""
        values, vectors = np.linalg.eigh(seen.gramian)
        kept = values > ROUNDING * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        aligned = (vectors * np.sqrt(values.mean() / values)) @ vectors.T
        weights: Array = aligned @ (seen.priorities / seen.priorities.sum())
        return weights
