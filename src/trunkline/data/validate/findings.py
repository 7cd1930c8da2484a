"""What validation found, and the message of a run that it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.validate import words
from trunkline.data.validate.checks import Answer, Check
from trunkline.data.validate.leaks import Leak
from trunkline.errors import DataError, ParamsError, TrunklineError

if TYPE_CHECKING:
    import pandas as pd

WHOLE_TABLE = "whole table"
MOST_FINDINGS, MOST_EXAMPLES = 12, 10
PAGE = "reports/validation.html"


@dataclass(frozen=True)
class Finding:
    """A rule that does not hold.

    Attributes:
        where: The drop, the drops, or the whole table.
        columns: The columns, none where it is about rows as such.
        expected: What should hold, in words.
        seen: What was found instead, in words.
        broken: Rows that break it; 0 where a whole column does.
        rows: Rows that were judged.
        setting: The key of params.yaml that asks for it.
        examples: The first rows that break it: their keys and what they hold.
        problem: Why it could not be checked at all, or "".
        of_rows: Whether it is about single rows, which can be set aside.
    """

    where: str
    columns: tuple[str, ...]
    expected: str
    seen: str
    broken: int
    rows: int
    setting: str
    examples: tuple[str, ...] = ()
    problem: str = ""
    of_rows: bool = False

    @property
    def sentence(self) -> str:
        """The finding on one line."""
        names = ", ".join(f"'{name}'" for name in self.columns)
        named = f", column{'s' if len(self.columns) > 1 else ''} {names}" if names else ""
        if self.problem:
            return f"{self.where}{named}: could not check {self.expected.removesuffix(' to hold')}: {self.problem}"
        return f"{self.where}{named}: expected {self.expected}; found {self.seen}{self._in_rows} [{self.setting}]"

    @property
    def _in_rows(self) -> str:
        if self.broken:
            return f" in {words.count(self.broken, self.rows)}"
        return "" if self.seen.endswith("rows") else f" ({words.count(self.rows)})"


def finding_of(check: Check, answer: Answer, frame: pd.DataFrame, where: str, key: Sequence[str]) -> Finding:
    """Return the finding of a check that failed or could not be made."""
    if answer.problem:
        return Finding(where, check.columns, check.expected, "", 0, len(frame), check.setting, problem=answer.problem)
    expected, seen = check.accuse(answer, frame)
    held = [name for name in check.columns if name not in key]
    first = records(frame, answer.rows[:MOST_EXAMPLES], [*key, *held])
    examples = tuple(example(row, key, held) for row in first)
    return Finding(
        where=where,
        columns=check.columns,
        expected=expected,
        seen=seen,
        broken=answer.broken,
        rows=len(frame),
        setting=check.setting,
        examples=examples,
        of_rows=check.reason is not None,
    )


def records(frame: pd.DataFrame, rows: np.ndarray[Any, Any], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return some rows, each as a dict of some columns."""
    part = frame[list(dict.fromkeys(columns))].iloc[rows]
    return [dict(zip(part.columns, cells, strict=True)) for cells in part.itertuples(index=False, name=None)]


def example(row: dict[str, Any], key: Sequence[str], held: Sequence[str]) -> str:
    """Return one row for a message: its key, then what it holds."""
    named = ", ".join(f"{name} {words.value(row[name])}" for name in key)
    return f"{named}: {', '.join(f'{name} {words.value(row[name])}' for name in held)}" if held else named


def refusal(findings: Sequence[Finding], leaks: Sequence[Leak]) -> TrunklineError:
    """Return the error that stops the run: each broken rule in words, then what to do.

    A rule that could not be checked is a fault of params.yaml, not of the data, and outranks the others.
    """
    unchecked = list({finding.setting: finding for finding in findings if finding.problem}.values())
    if unchecked:
        lines = [f"params.yaml: {finding.setting}: {finding.sentence}" for finding in unchecked]
        return ParamsError("\n".join(_shortened(lines)) + "\n  Correct these settings")
    blocks = ["\n".join([f"- {found.sentence}", *(f"    {row}" for row in found.examples)]) for found in findings]
    blocks += [f"- {leak.said}" for leak in leaks]
    rules = f"{len(blocks)} rule{'s' if len(blocks) > 1 else ''} broken"
    return DataError(
        "\n".join([f"data refused: {rules} (all of it: {PAGE})", *_shortened(blocks), *_way_on(findings, leaks)])
    )


def _shortened(blocks: Sequence[str]) -> list[str]:
    more = [f"and {len(blocks) - MOST_FINDINGS} more in {PAGE}"] if len(blocks) > MOST_FINDINGS else []
    return [*blocks[:MOST_FINDINGS], *more]


def _way_on(findings: Sequence[Finding], leaks: Sequence[Leak]) -> list[str]:
    names = sorted({leak.input for leak in leaks})
    set_aside = "; or write on_failure: quarantine there, which sets single rows aside"
    of_rules = (
        "What to do: remove or mend the file in data/incoming/; or change the rule, whose key in params.yaml stands in "
        f"brackets{set_aside if any(found.of_rows for found in findings) else ''}."
    )
    of_leaks = f"What to do: remove {words.listed(names)} from columns, or list it under validation.leaks.allow."
    left = "data/split and everything after it are as the last good run left them."
    return [*([of_rules] if findings else []), *([of_leaks] if leaks else []), left]
