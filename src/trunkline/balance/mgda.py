"""MGDA: the shortest gradient that is a mean of the tasks' gradients; 0 exactly where no step helps all.

in      Gramian of the tasks' gradients         (tasks, tasks)
out     a weight per gradient, all >= 0, sum 1  (tasks,)
source  Desideri 2012; Sener and Koltun 2018, arXiv:1810.04650
Differs: solved exactly, as non-negative least squares. TorchJD's Frank-Wolfe stops within 1e-3 or after 100 steps
        and takes ten times as long at 16 tasks. Without place for declared weights.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from trunkline.balance.base import Array, GradientMethod, Seen

RIDGE = 1e-12  # on a Gramian of mean diagonal 1


def shortest_mean(gramian: Array) -> Array:
    """Return the weights, >= 0 with sum 1, of the shortest mean of vectors with this Gramian.

    The least squares of (J'x, 1 - sum x) over x >= 0 point there: for x = t a, the best t leaves q / (1 + q), and
    that grows with q = |J'a|^2.
    """
    from scipy.optimize import nnls

    count = len(gramian)
    scale = gramian.trace() / count
    factor = np.linalg.cholesky(gramian / (scale if scale > 0 else 1.0) + RIDGE * np.eye(count)).T
    found, _ = nnls(np.vstack([factor, np.ones(count)]), np.append(np.zeros(count), 1.0))
    weights: Array = found / found.sum()
    return weights


class MGDA(GradientMethod):
    """Follow the shortest common descent direction. Favours tasks with short gradients; others suit better mostly."""

    kind: Literal["mgda"]
    weighted: ClassVar[bool] = False

    def solve(self, seen: Seen) -> Array:
        """Return the weights of the shortest mean."""
        return shortest_mean(seen.gramian)
