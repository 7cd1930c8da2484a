"""A check: one question to Great Expectations, and the words for its answer.

The library alone decides whether a check holds. A check about rows names the rows that break it, so that they can
be shown and set aside; any other judges a whole drop, or the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trunkline.columns.base import OnFailure
from trunkline.data.validate import words

if TYPE_CHECKING:
    import pandas as pd

Span = tuple[float, float]
"""Lowest and highest of what a check saw, in its own unit."""


class Answer(NamedTuple):
    """What Great Expectations found for one check.

    Attributes:
        passed: Whether the expectation holds.
        broken: How many rows break it; 0 where it passed, and for an expectation about a whole column.
        rows: Positions of those rows in the frame that was judged; empty where it passed.
        observed: What an expectation about a whole column measured; None where it passed.
        problem: Why it could not be checked at all, or "".
    """

    passed: bool
    broken: int
    rows: np.ndarray[Any, Any]
    observed: Any
    problem: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to Great Expectations.

    Attributes:
        setting: The key of params.yaml that asks for it.
        expectation: Great Expectations' name of it.
        kwargs: Its arguments.
        columns: The columns of the data that it reads, by which it is named; none where it counts rows.
        expected: What should hold, in words.
        on_failure: What becomes of rows that break it.
        reason: Says what is wrong with one row; None where it does not judge single rows.
        measure: Gives the span of what was seen, for the report; None where no number says it.
        show: Puts such a span into words.
        blame: Gives what was expected and what was seen instead, of a check that failed.
        helpers: Gives columns the expectation reads beside those of the data.
    """

    setting: str
    expectation: str
    kwargs: Mapping[str, Any]
    columns: tuple[str, ...]
    expected: str
    on_failure: OnFailure = "stop"
    reason: Callable[[Mapping[str, Any]], str] | None = None
    measure: Callable[[pd.DataFrame], Span | None] = lambda frame: None
    show: Callable[[float, float], str] = words.measured
    blame: Callable[[Answer, pd.DataFrame], tuple[str, str]] | None = None
    helpers: Callable[[pd.DataFrame], dict[str, Any]] = lambda frame: {}

    @property
    def column(self) -> str:
        """Its columns for the report."""
        return ", ".join(self.columns)

    @property
    def sets_aside(self) -> bool:
        """Whether rows that break it go to quarantine."""
        return self.on_failure == "quarantine" and self.reason is not None

    def accuse(self, answer: Answer, frame: pd.DataFrame) -> tuple[str, str]:
        """Return what was expected and what was seen instead."""
        if self.blame is not None:
            return self.blame(answer, frame)
        span = self.measure(frame)
        return self.expected, self.show(*span) if span else ""
