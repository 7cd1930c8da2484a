"""Square-root draws: half way, on the scale of exponents, between proportional and uniform.

in      rows of each table n_g
out     p_g proportional to the square root of n_g
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class SquareRoot(TaskLaw):
    """Draw tables by the square root of their rows. Suits tables of different sizes; the one to try first."""

    kind: Literal["square_root"]

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        return powers(tables, 0.5)
