"""The check of tasks that are given another: nothing may be said of one that does not exist in the row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.columns.base import OnFailure
from trunkline.data.validate import words
from trunkline.data.validate.checks import Check
from trunkline.tasks.given import parent_of

if TYPE_CHECKING:
    import pandas as pd

    from trunkline.tasks import Task


def given_checks(tasks: Mapping[str, Task], on_failure: OnFailure) -> Iterator[Check]:
    """Yield a check per task and each of those that it is given, at first or second hand."""
    for name, task in tasks.items():
        below = name
        while held := parent_of(tasks[below]):
            yield _absent(task, tasks[held[0]], held[1], f"tasks.{name}.given", on_failure)
            below = held[0]


def _absent(child: Task, parent: Task, value: bool | str, setting: str, on_failure: OnFailure) -> Check:
    """Ask that the child's label is empty, false or 0 wherever the parent's is known and not `value`."""
    (column, labels), (above, _) = *child.label_columns.items(), *parent.label_columns.items()
    helper = f"{column} although not {above} is {_word(value)}"
    nothing = {"truth": "false or empty", "number": "0 or empty", "words": "empty"}[labels.type]
    expected = f"'{column}' {nothing} wherever '{above}' is not {_word(value)}"

    def contradicts(frame: pd.DataFrame) -> dict[str, Any]:
        says = frame[column].notna() & ~frame[column].isin([0.0])
        elsewhere = frame[above].notna() & (frame[above] != (float(value) if isinstance(value, bool) else value))
        return {helper: np.asarray(says & elsewhere, dtype=np.float64)}

    return Check(
        setting=setting,
        expectation="expect_column_values_to_be_between",
        kwargs={"column": helper, "max_value": 0.0},
        columns=(column, above),
        expected=expected,
        on_failure=on_failure,
        reason=lambda row: f"{column} {words.value(row[column])} although {above} is {words.value(row[above])}",
        blame=lambda answer, frame: (expected, f"'{column}' with a label there"),
        helpers=contradicts,
    )


def _word(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"
