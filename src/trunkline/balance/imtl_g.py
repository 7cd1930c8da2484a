"""IMTL-G: the step whose projection on every task's gradient is the same, whatever the gradients' lengths.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient                   (tasks,)
source  Liu et al. 2021, "Towards Impartial Multi-task Learning", equation 9
Differs: solved on gradients of length 1 and divided by the sum of those weights, which is never negative. TorchJD
        divides by the sum of the weights of the gradients themselves; with three tasks of unequal length that may be
        negative, and its step then makes every loss larger. Projections are as the declared weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trunkline.balance.base import Array, GradientMethod, Seen, on_lengths, unit_rows

ROUNDING = 1e-9  # singular values below this share of the largest are the rounding of float32 gradients


class ImtlG(GradientMethod):
    """Make equal progress along every task's gradient. Cheap and blind to the scale of losses."""

    kind: Literal["imtl_g"]

    def solve(self, seen: Seen) -> Array:
        """Return weights that give each unit gradient a projection as its task's declared weight."""
        cosines, lengths = unit_rows(seen.gramian)
        return on_lengths(np.linalg.pinv(cosines, rcond=ROUNDING, hermitian=True) @ seen.priorities, lengths)
