"""Proportional draws: a table gets as many steps as it has rows.

in      rows of each table n_g
out     p_g proportional to n_g
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class Proportional(TaskLaw):
    """Draw tables by their rows. Suits tables of about the same size; small ones are seldom seen."""

    kind: Literal["proportional"]

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        return powers(tables, 1.0)
