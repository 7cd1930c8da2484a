"""What an experiment found, beside what had to come out."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the table.

    Attributes:
        what: What was looked at.
        seen: The figure.
        low: Smallest accepted value.
        high: Largest accepted value.
    """

    what: str
    seen: float
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def passed(self) -> bool:
        """Whether the figure is where it had to be; NaN is nowhere."""
        return self.low <= self.seen <= self.high

    @property
    def bound(self) -> str:
        """The accepted range in words."""
        if self.low == self.high:
            return f"= {self.low:.3g}"
        if self.low == float("-inf"):
            return f"<= {self.high:.3g}"
        return f">= {self.low:.3g}" if self.high == float("inf") else f"{self.low:.3g} to {self.high:.3g}"
