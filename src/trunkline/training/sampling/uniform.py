"""Uniform draws: every table gets as many steps as every other.

in      tables
out     p_g = 1 / tables
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class Uniform(TaskLaw):
    """Draw all tables alike. A small table is shown over and over, which it may learn by heart."""

    kind: Literal["uniform"]

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        return powers(tables, 0.0)
