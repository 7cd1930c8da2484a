"""The record of every rule over all drops, for the report: how often it was asked, what it saw, whether it held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trunkline.data.validate.checks import Answer, Check, Span

if TYPE_CHECKING:
    import pandas as pd

PASSED, SET_ASIDE, FAILED, UNCHECKED = "passed", "set aside", "failed", "not checked"
WORSE = (PASSED, SET_ASIDE, FAILED, UNCHECKED)


@dataclass
class _Line:
    check: Check
    drops: int = 0
    broken: int = 0
    status: str = PASSED
    span: Span | None = None


@dataclass
class Record:
    """One line for each rule, in the order in which the rules were first asked."""

    lines: dict[tuple[str, ...], _Line] = field(default_factory=dict)

    def add(self, check: Check, answer: Answer, frame: pd.DataFrame) -> None:
        """Note one answer."""
        name = (check.column, check.expectation, check.setting, str(check.kwargs.get("column")))
        line = self.lines.setdefault(name, _Line(check))
        line.drops += 1
        line.broken += answer.broken
        line.status = max(line.status, _status(check, answer), key=WORSE.index)
        span = None if answer.problem else check.measure(frame)
        if span:
            low, high = line.span or span
            line.span = (min(low, span[0]), max(high, span[1]))

    def rules(self, columns: Sequence[str]) -> list[dict[str, object]]:
        """Return the lines for the report, those of the table first, then in the order of `columns`."""
        place = {name: at for at, name in enumerate(columns)}
        lines = sorted(
            self.lines.values(), key=lambda line: place.get(line.check.columns[0], 0) if line.check.columns else -1
        )
        return [
            {
                "column": line.check.column,
                "expectation": line.check.expectation,
                "expected": line.check.expected,
                "seen": line.check.show(*line.span) if line.span else "",
                "rows": line.broken,
                "asked": line.drops,
                "status": line.status,
                "setting": line.check.setting,
            }
            for line in lines
        ]


def _status(check: Check, answer: Answer) -> str:
    if answer.problem:
        return UNCHECKED
    if answer.passed:
        return PASSED
    return SET_ASIDE if check.sets_aside else FAILED
