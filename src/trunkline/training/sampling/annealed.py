"""Annealed draws: by the rows at first, nearly alike in the end.

in      rows of each table n_g; epoch e of E, from 1
out     p_g proportional to n_g ** a, a = 1 - (1 - last) (e - 1) / (E - 1)
source  Stickland and Murray 2019, "BERT and PALs", arXiv:1902.02671, with 1 - last = 0.8
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class Annealed(TaskLaw):
    """Start with the large tables and end with all. Suits small tables that a long training learns by heart."""

    kind: Literal["annealed"]
    last: float = Field(
        0.2, ge=0, le=1, description="Exponent on the rows in the last epoch; in the first it is 1. 0 = all alike."
    )

    def exponent(self, when: When) -> float:
        """Return the exponent on the rows at a step."""
        return 1 - (1 - self.last) * when.epoch / max(1, when.epochs - 1)

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        return powers(tables, self.exponent(when))
