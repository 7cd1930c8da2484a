"""UPGrad on gradients of length 1: each is projected to where it hurts no task, then their mean is taken.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient                   (tasks,)
source  Quinton and Rey 2024, "Jacobian Descent for Multi-Objective Optimization", section 3, arXiv:2406.16232
Differs: gradients are brought to length 1 first and the projections are solved as non-negative least squares. TorchJD's
        UPGrad needs two more packages, and by its regularisation ignores gradients 30 times shorter than the others.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trunkline.balance.base import Array, GradientMethod, Seen, on_lengths, unit_rows

RIDGE = 1e-9  # on a diagonal of 1: the Cholesky factor exists where gradients are parallel


class UPGrad(GradientMethod):
    """A step that hurts no task, to first order, however much longer one gradient is than another."""

    kind: Literal["upgrad"]

    def solve(self, seen: Seen) -> Array:
        """Return the weights of the mean, by declared weight, of the projected gradients."""
        from scipy.optimize import nnls

        cosines, lengths = unit_rows(seen.gramian)
        factor = np.linalg.cholesky(cosines + RIDGE * np.eye(len(cosines))).T
        # The projection of row i is the shortest J'v with v >= e_i; v = e_i + x, x >= 0.
        shares = sum(
            priority * (np.eye(len(cosines))[place] + nnls(factor, -factor[:, place])[0])
            for place, priority in enumerate(seen.priorities)
        )
        return on_lengths(np.asarray(shares), lengths)
