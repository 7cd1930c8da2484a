"""Checks about single rows, which can be set aside: ranges, words, missing keys, implications, the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trunkline.columns.base import OnFailure
from trunkline.data.validate import words
from trunkline.data.validate.checks import Answer, Check, Span

if TYPE_CHECKING:
    import pandas as pd


def between(column: str, low: float | None, high: float | None, setting: str, on_failure: OnFailure) -> Check:
    """Ask that numbers stay in their declared range, of which one end may be open."""
    expected = words.span(low, high)

    def reason(row: Mapping[str, Any]) -> str:
        found = row[column]
        if high is not None and found > high:
            return f"{column} {words.value(found)} is above {words.number(high)}"
        return f"{column} {words.value(found)} is below {words.number(low or 0.0)}"

    def outside(answer: Answer, frame: pd.DataFrame) -> tuple[str, str]:
        found = frame[column].iloc[answer.rows]
        return expected, words.measured(float(found.min()), float(found.max()))

    bounds = {name: bound for name, bound in (("min_value", low), ("max_value", high)) if bound is not None}
    return Check(
        setting=setting,
        expectation="expect_column_values_to_be_between",
        kwargs={"column": column, **bounds},
        columns=(column,),
        expected=expected,
        on_failure=on_failure,
        reason=reason,
        measure=lambda frame: _range(frame[column]),
        blame=outside,
    )


def _range(values: pd.Series[Any]) -> Span | None:
    known = values.dropna()
    return (float(known.min()), float(known.max())) if len(known) else None


def one_of(column: str, allowed: Sequence[str], setting: str, on_failure: OnFailure) -> Check:
    """Ask that words are among the declared ones."""
    expected = f"one of {words.listed(allowed)}"
    return Check(
        setting=setting,
        expectation="expect_column_values_to_be_in_set",
        kwargs={"column": column, "value_set": list(allowed)},
        columns=(column,),
        expected=expected,
        on_failure=on_failure,
        reason=lambda row: f"{column} {words.value(row[column])!r} is not {expected}",
        blame=lambda answer, frame: (expected, commonest(frame[column].iloc[answer.rows])),
    )


def whole(column: str, setting: str, on_failure: OnFailure) -> Check:
    """Ask that numbers have no fraction."""
    helper = f"{column} beyond a whole number"
    return Check(
        setting=setting,
        expectation="expect_column_values_to_be_between",
        kwargs={"column": helper, "min_value": 0.0, "max_value": 0.0},
        columns=(column,),
        expected="whole numbers",
        on_failure=on_failure,
        reason=lambda row: f"{column} {words.value(row[column])} is not a whole number",
        blame=lambda answer, frame: ("whole numbers", commonest(frame[column].iloc[answer.rows])),
        helpers=lambda frame: {helper: frame[column] % 1},
    )


def present(column: str, setting: str, on_failure: OnFailure) -> Check:
    """Ask that every row has a value."""
    expected = "a value in every row"
    return Check(
        setting=setting,
        expectation="expect_column_values_to_not_be_null",
        kwargs={"column": column},
        columns=(column,),
        expected=expected,
        on_failure=on_failure,
        reason=lambda row: f"{column} is missing",
        blame=lambda answer, frame: (expected, "nothing"),
    )


def implies(column: str, demanded: str, setting: str, on_failure: OnFailure) -> Check:
    """Ask that `demanded` is true wherever `column` is; rows that lack one of the two labels do not count."""
    expected = f"'{demanded}' true wherever '{column}' is true"
    pair = {"column_A": demanded, "column_B": column, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    return Check(
        setting=setting,
        expectation="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs=pair,
        columns=(column, demanded),
        expected=expected,
        on_failure=on_failure,
        reason=lambda row: f"{column} is true but {demanded} is false",
        blame=lambda answer, frame: (expected, f"'{column}' true but '{demanded}' false"),
    )


def happened(column: str, days: float, setting: str, on_failure: OnFailure) -> Check:
    """Ask that no moment lies more than so many days after the clock's; rows that pass leave no trace of the clock."""
    helper = f"days from now to {column}"
    expected = "no moment in the future"

    def ahead(frame: pd.DataFrame) -> dict[str, Any]:
        import pandas as pd

        return {helper: (frame[column] - pd.Timestamp.now("UTC")) / pd.Timedelta(days=1)}

    return Check(
        setting=setting,
        expectation="expect_column_values_to_be_between",
        kwargs={"column": helper, "max_value": days},
        columns=(column,),
        expected=expected,
        on_failure=on_failure,
        reason=lambda row: f"{column} {words.value(row[column])} lies in the future",
        blame=lambda answer, frame: (expected, commonest(frame[column].iloc[answer.rows])),
        helpers=ahead,
    )


def commonest(found: pd.Series[Any]) -> str:
    """Return the commonest of some words, in quotes, and how many others there are."""
    counted = found.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return words.listed([f"'{words.value(word)}'" for word in counted.index], most=4)
