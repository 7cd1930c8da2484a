"""Moments: their place in the day, week and year as sine and cosine, and their age on a standard scale.

in      int64 [rows, 1], seconds since 1970 in UTC; the smallest int64 = missing
out     float32 features: two per cycle, one for the age, one missing flag (only where training lacked values)
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.columns.base import BaseColumn, ColumnState

MISSING_TIME = int(np.iinfo(np.int64).min)
CYCLE_SECONDS = {"day": 86_400, "week": 604_800, "year": 31_556_952}  # year: the Gregorian mean, 365.2425 days


class TimestampColumn(BaseColumn):
    """A moment in UTC. Null counts as missing."""

    kind: Literal["timestamp"]
    cycles: list[Literal["day", "week", "year"]] = Field(
        ["day", "week"], description="Cycles the net sees the moment's place in, each as sine and cosine."
    )
    age: bool = Field(
        False,
        description="Also give the moment itself on a standard scale. Of little use with a time split: "
        "later rows lie outside the training range and are clipped to it.",
    )

    raw_type: ClassVar[str] = "int64"

    def fit(self, values: np.ndarray[Any, Any]) -> ColumnState:
        """Learn range and scale of the age.

        Args:
            values: int64 [rows], training rows only, seconds since 1970; the smallest int64 = missing.
        """
        known = values[values != MISSING_TIME]
        low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        spread = float(known.astype(np.float64).std()) if len(known) else 0.0
        return {
            "kind": "timestamp",
            "cycles": list(self.cycles),
            "age": self.age,
            "flag": bool(len(known) < len(values)),
            "low": low,
            "high": high,
            "center": float(known.astype(np.float64).mean()) if len(known) else 0.0,
            "spread": spread or 1.0,
        }

    @staticmethod
    def boundary(state: ColumnState) -> list[int]:
        """Return moments where calendars and float32 go wrong, for the parity check."""
        day, leap = 86_400, 951_782_400  # 29 February 2000
        edges = [0, -1, 1, day - 1, day, 604_799, 604_800, leap - 1, leap, leap + day - 1, 2**24, 2**24 + 1, 2**31]
        year_9999, year_1 = 253_402_300_799, -62_135_596_800
        known = [state["low"], state["high"], state["low"] - 1, state["high"] + 1]
        return [*edges, *known, year_9999, year_1, 4_102_444_799, 4_102_444_800, MISSING_TIME]
