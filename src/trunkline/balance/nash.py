"""Nash-MTL: the tasks bargain over the step; each gains in proportion to how much it has to lose.

in      Gramian G of the tasks' gradients       (tasks, tasks)
out     weights w with G w = 1 / w              (tasks,)
source  Navon et al. 2022, "Multi-Task Learning as a Bargaining Game", arXiv:2202.01017; the same equation is FairGrad
        with alpha = 1, Ban and Ji 2024, arXiv:2402.15638
Differs: the equation says that w'Gw/2 - sum log w is smallest, which damped Newton steps find in a tenth of a
        millisecond, where the authors' solver takes 100 and fails from a tenfold difference of lengths on (TorchJD's
        NashMTL is that solver, and needs cvxpy). Declared weights are the bargaining powers: G w = p / w.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trunkline.balance.base import Array, GradientMethod, Seen, on_lengths, unit_rows

RIDGE = 1e-8  # on a diagonal of 1: opposite gradients have a solution
STEPS = 100
CLOSE = 1e-7  # Newton decrement


class Nash(GradientMethod):
    """The bargaining solution: no task can gain a percent without others losing more. Blind to the scale of losses."""

    kind: Literal["nash"]

    def solve(self, seen: Seen) -> Array:
        """Return the weights of the bargaining solution."""
        cosines, lengths = unit_rows(seen.gramian)
        cosines, powers = cosines + RIDGE * np.eye(len(cosines)), seen.priorities
        shares = np.sqrt(powers)
        for _ in range(STEPS):
            slope = cosines @ shares - powers / shares
            step = np.linalg.solve(cosines + np.diag(powers / shares**2), slope)
            decrement = float(np.sqrt(max(slope @ step, 0.0) / powers.min()))
            # Self-concordant: a step divided by 1 + decrement keeps all shares above 0 and always gains.
            shares = shares - step / (1 + decrement if decrement > 0.25 else 1.0)
            if decrement < CLOSE:
                break
        return on_lengths(shares, lengths)
