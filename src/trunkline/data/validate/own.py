"""The user's own expectations, in Great Expectations' words: read, and refused where they cannot mean anything."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from trunkline.columns.base import OnFailure
from trunkline.data.declarations import Rule
from trunkline.data.validate import words
from trunkline.data.validate.checks import Answer, Check
from trunkline.data.validate.judge import great_expectations, quietly
from trunkline.declared import did_you_mean
from trunkline.errors import ParamsError

if TYPE_CHECKING:
    import pyarrow as pa

ONE_COLUMN = ("column", "column_A", "column_B")
SEVERAL_COLUMNS = ("column_list", "column_set")
NOT_ARGUMENTS = (  # fields of every expectation that say nothing about the data
    "batch_id",
    "catch_exceptions",
    "description",
    "id",
    "meta",
    "notes",
    "rendered_content",
    "result_format",
    "severity",
    "windows",
)


def own_checks(rules: Sequence[Rule], schema: pa.Schema, default: OnFailure) -> list[Check]:
    """Return a check for each expectation of `validation.expectations`.

    Args:
        rules: What the user wrote. Texts and dates compared with a timestamp become moments in UTC.
        schema: The columns that are read, and `drop`.
        default: What becomes of rows that break a rule which does not say so itself.

    Raises:
        ParamsError: An expectation or argument that Great Expectations does not know, a column that is not read, or
            rows to be set aside by an expectation that names none.
    """
    moments = {field.name for field in schema if str(field.type).startswith("timestamp")}
    settings = [f"validation.expectations.{at}" for at in range(len(rules))]
    return [
        _own_check(rule, setting, schema.names, moments, default) for rule, setting in zip(rules, settings, strict=True)
    ]


def _own_check(
    rule: Rule, setting: str, columns: Collection[str], moments: Collection[str], default: OnFailure
) -> Check:
    kind = _known_kind(rule.type, setting)
    reads = _columns_of(rule.kwargs)
    for name in reads:
        if name not in columns:
            hint = (
                did_you_mean(name, columns)
                or "; columns that are no input, target or key are read if data.keep names them"
            )
            raise ParamsError(f"params.yaml: {setting}.kwargs: column '{name}' is not read{hint}")
    kwargs = _in_utc(rule.kwargs) if set(reads) & set(moments) else dict(rule.kwargs)
    _buildable(kind, kwargs, f"{setting}.kwargs")
    about_rows = _is_about_rows(kind)
    if rule.on_failure == "quarantine" and not about_rows:
        raise ParamsError(
            f"params.yaml: {setting}.on_failure: {rule.type} judges a drop and names no rows to set aside; write stop"
        )
    return Check(
        setting=setting,
        expectation=rule.type,
        kwargs=kwargs,
        columns=reads,
        expected=_said(rule),
        on_failure=rule.on_failure or default,
        reason=_reason(rule.type, reads) if about_rows else None,
        blame=_blame(rule),
    )


def _known_kind(name: str, setting: str) -> Any:
    library = great_expectations()
    classes: list[Any] = [kind for _, kind in inspect.getmembers(library.expectations, inspect.isclass)]
    kinds = {kind.expectation_type: kind for kind in classes if getattr(kind, "expectation_type", None)}
    if name not in kinds:
        hint = did_you_mean(name, kinds) or "; the names are those of Great Expectations' core expectations"
        raise ParamsError(f"params.yaml: {setting}.type: '{name}' is unknown{hint}")
    return kinds[name]


def _columns_of(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    one = [kwargs[key] for key in ONE_COLUMN if key in kwargs]
    several = [name for key in SEVERAL_COLUMNS if isinstance(kwargs.get(key), list) for name in kwargs[key]]
    return tuple(str(name) for name in [*one, *several])


def _in_utc(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dates and texts that are compared with a timestamp column into moments, as pandas 3 demands."""
    import pandas as pd

    def moment(held: Any) -> Any:
        try:
            stamp = pd.Timestamp(held)
        except ValueError:
            return held  # the library will say that it cannot use it
        return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")

    dated = {key for key in ("min_value", "max_value") if isinstance(kwargs.get(key), str | date | datetime)}
    return {key: moment(held) if key in dated else held for key, held in kwargs.items()}


def _buildable(kind: Any, kwargs: Mapping[str, Any], setting: str) -> None:
    from pydantic.v1 import ValidationError

    known = [name for name in kind.__fields__ if name not in NOT_ARGUMENTS]
    for key in kwargs:
        if key not in known:
            hint = did_you_mean(key, known) or f"; it takes {', '.join(known)}"
            raise ParamsError(f"params.yaml: {setting}.{key}: is not an argument of {kind.expectation_type}{hint}")
    try:
        with quietly():
            kind(**kwargs)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"] if part != "__root__")
        raise ParamsError(f"params.yaml: {setting}{'.' if key else ''}{key}: {fault['msg']}") from None


def _is_about_rows(kind: Any) -> bool:
    from great_expectations.expectations import expectation

    maps = (
        expectation.ColumnMapExpectation,
        expectation.ColumnPairMapExpectation,
        expectation.MulticolumnMapExpectation,
    )
    return issubclass(kind, maps)


def _said(rule: Rule) -> str:
    rest = {key: held for key, held in rule.kwargs.items() if key not in ONE_COLUMN + SEVERAL_COLUMNS}
    given = f" ({', '.join(f'{key} {held}' for key, held in rest.items())})" if rest else ""
    return f"{rule.type}{given} to hold"


def _reason(name: str, reads: tuple[str, ...]) -> Any:
    def reason(row: Mapping[str, Any]) -> str:
        return f"{', '.join(f'{column} {words.value(row[column])}' for column in reads)} breaks {name}"

    return reason


def _blame(rule: Rule) -> Any:
    def blame(answer: Answer, frame: Any) -> tuple[str, str]:
        seen = "rows that break it" if answer.broken else words.observation(answer.observed)
        return _said(rule), seen

    return blame
