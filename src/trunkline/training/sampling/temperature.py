"""Temperature draws: one dial from proportional (1) over square root (2) to uniform (infinite), with a cap.

in      rows of each table n_g
out     p_g proportional to min(n_g, cap) ** (1 / temperature)
source  Arivazhagan et al. 2019, arXiv:1907.05019; the cap: Raffel et al. 2020, arXiv:1910.10683, section 3.5.2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class Temperature(TaskLaw):
    """Draw tables by a root of their rows. Suits many tables of very different sizes."""

    kind: Literal["temperature"]
    temperature: float = Field(
        2.0, ge=1, le=1000, description="1 = proportional to the rows, 2 = to their square root; higher is more even."
    )
    cap: int | None = Field(
        None, ge=1, description="Rows of a table beyond which more do not raise its share. Default: none."
    )

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        return powers(tables, 1 / self.temperature, self.cap)
