"""Checks about a whole drop or the whole table: enough rows, enough values, each key once, every class there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.validate import words
from trunkline.data.validate.checks import Check, Span

if TYPE_CHECKING:
    import pandas as pd

NO_SHARE = 1e-12  # the least "mostly" that a column without any value still fails; also absorbs rounding


def rows(fewest: int, setting: str) -> Check:
    """Ask for enough rows."""
    return Check(
        setting=setting,
        expectation="expect_table_row_count_to_be_between",
        kwargs={"min_value": fewest},
        columns=(),
        expected=f"at least {words.count(fewest)}",
        measure=lambda frame: (len(frame), len(frame)),
        show=lambda low, high: words.count(int(low)) if low == high else f"{low:,.0f} to {words.count(int(high))}",
    )


def filled(column: str, limit: float, setting: str, expected: str) -> Check:
    """Ask that no more than the share `limit` of a column is missing, and never all of it."""

    def missing(frame: pd.DataFrame) -> Span:
        share = float(frame[column].isna().mean())
        return share, share

    return Check(
        setting=setting,
        expectation="expect_column_values_to_not_be_null",
        kwargs={"column": column, "mostly": max(1 - limit - NO_SHARE, NO_SHARE)},
        columns=(column,),
        expected=expected,
        measure=missing,
        show=lambda low, high: f"{words.shares(low, high)} missing",
    )


def unique(key: tuple[str, ...]) -> Check:
    """Ask that no two rows have the same key."""
    one = len(key) == 1
    return Check(
        setting="data.key",
        columns=key,
        expected="each key once in the whole table",
        expectation="expect_column_values_to_be_unique" if one else "expect_compound_columns_to_be_unique",
        kwargs={"column": key[0]} if one else {"column_list": list(key)},
    )


def varied(target: str, setting: str) -> Check:
    """Ask that a target has two values or more; from one alone nothing can be learned."""
    return Check(
        setting=setting,
        expectation="expect_column_unique_value_count_to_be_between",
        kwargs={"column": target, "min_value": 2},
        columns=(target,),
        expected="two different values or more",
        measure=lambda frame: _once(frame[target].nunique()),
        show=lambda low, high: f"{low:,.0f} different value{'s' if low != 1 else ''}",
    )


def class_rows(target: str, word: str, fewest: int) -> Check:
    """Ask for enough rows of one class of a target."""
    helper = f"{target} is {word}"
    return Check(
        setting="validation.min_class_rows",
        expectation="expect_column_sum_to_be_between",
        kwargs={"column": helper, "min_value": fewest},
        columns=(target,),
        expected=f"at least {words.count(fewest)} where it is {word}",
        measure=lambda frame: _once(is_class(frame[target], word).sum()),
        show=lambda low, high: words.count(int(low)),
        helpers=lambda frame: {helper: is_class(frame[target], word)},
    )


def _once(seen: float) -> Span:
    return float(seen), float(seen)


def is_class(target: pd.Series[Any], word: str) -> Any:
    """Return 1.0 where the target is `word`, 0.0 where it is another class, missing where it is missing."""
    same = target == (float(word == "true") if target.dtype == np.float64 else word)
    return same.astype(np.float64).where(target.notna())
