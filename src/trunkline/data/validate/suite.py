"""The suite: what params.yaml declares of columns, targets and tables, as checks for Great Expectations.

The library passes a column without any value and a table without rows; so every drop is asked for rows and every
column for values, whatever the user declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trunkline.columns.base import OnFailure
from trunkline.data.declarations import Validation
from trunkline.data.validate import table_checks, words
from trunkline.data.validate.checks import Check
from trunkline.data.validate.given_check import given_checks
from trunkline.data.validate.row_checks import between, happened, implies, one_of, present, whole

if TYPE_CHECKING:
    from trunkline.columns import Column
    from trunkline.tasks import Task
    from trunkline.tasks.base import LabelColumn


def checks_of_rows(
    key: Sequence[str],
    columns: Mapping[str, Column],
    tasks: Mapping[str, Task],
    validation: Validation,
    moments: Sequence[str] = (),
) -> list[Check]:
    """Return what every single row must be."""
    default = validation.on_failure
    asked = [name for name, column in columns.items() if column.max_missing == 0]
    of_key = [present(name, "data.key", default) for name in key if name not in asked]
    of_columns = [check for name, column in columns.items() for check in _of_column(name, column, default)]
    of_tasks = [check for name, task in tasks.items() for check in _of_task(name, task, default)]
    of_pairs = [
        implies(_target(tasks[name]), _target(tasks[other]), f"validation.implications.{name}", default)
        for name, others in validation.implications.items()
        for other in others
    ]
    ahead = validation.future_days
    of_moments = [] if ahead is None else [happened(name, ahead, "validation.future_days", default) for name in moments]
    return [*of_key, *of_columns, *of_tasks, *of_pairs, *given_checks(tasks, default), *of_moments]


def _target(task: Task) -> str:
    """Return the column of a task whose labels stand in one."""
    (column,) = task.label_columns
    return column


def _of_column(name: str, column: Column, default: OnFailure) -> list[Check]:
    checks = []
    on_failure = column.on_failure or default
    if column.max_missing == 0:
        checks.append(present(name, f"columns.{name}.max_missing", on_failure))
    if column.kind == "numeric" and (column.min is not None or column.max is not None):
        checks.append(between(name, column.min, column.max, f"columns.{name}", on_failure))
    if column.kind == "categorical" and column.values is not None:
        checks.append(one_of(name, column.values, f"columns.{name}.values", on_failure))
    return checks


def _of_task(name: str, task: Task, default: OnFailure) -> list[Check]:
    return [
        check
        for target, column in task.label_columns.items()
        for check in _of_label(target, column, f"tasks.{name}{'.' if column.allowed else ''}{column.allowed}", default)
    ]


def _of_label(target: str, column: LabelColumn, setting: str, default: OnFailure) -> list[Check]:
    checks = [whole(target, setting, default)] if column.whole else []
    if column.low is not None or column.high is not None:
        checks.append(between(target, column.low, column.high, setting, default))
    if column.words is not None:
        checks.append(one_of(target, column.words, setting, default))
    return checks


def checks_of_drops(columns: Mapping[str, Column], validation: Validation) -> list[Check]:
    """Return what every drop as a whole must be, after rows were set aside."""
    limits = {name: column.max_missing for name, column in columns.items()}
    return [
        table_checks.rows(validation.min_drop_rows, "validation.min_drop_rows"),
        *[
            table_checks.filled(name, limit, f"columns.{name}.max_missing", f"at most {words.percent(limit)} missing")
            for name, limit in limits.items()
            if 0 < limit < 1  # where none may be missing, each row was asked
        ],
    ]


def checks_of_values(columns: Mapping[str, Column], tasks: Mapping[str, Task]) -> list[Check]:
    """Return that every column and target which may lack values still has some in a drop."""
    free = [name for name, column in columns.items() if column.max_missing == 1]
    of_columns = [table_checks.filled(name, 1.0, f"columns.{name}", "some value") for name in free]
    labels = [(name, target) for name, task in tasks.items() for target in task.label_columns]
    return of_columns + [table_checks.filled(target, 1.0, f"tasks.{name}", "some label") for name, target in labels]


def checks_of_table(
    tasks: Mapping[str, Task], validation: Validation, found: Mapping[str, Sequence[str]]
) -> list[Check]:
    """Return what the whole table must be, after rows were set aside.

    Args:
        tasks: The targets.
        validation: How many rows are enough.
        found: Classes that a multiclass target holds, for those that declare none.
    """
    checks = [table_checks.rows(validation.min_rows, "validation.min_rows")]
    labels = [(name, *each) for name, task in tasks.items() for each in task.label_columns.items()]
    for name, target, column in labels:
        if column.needed is None:
            checks.append(table_checks.varied(target, f"tasks.{name}.{column.setting}"))
        checks += [
            table_checks.class_rows(target, word, validation.min_class_rows)
            for word in classes_of(column, found.get(target, ()))
        ]
    return checks


def classes_of(column: LabelColumn, found: Sequence[str]) -> list[str]:
    """Return the words of which there must be rows: those declared, else those found; none for a number."""
    if column.needed is not None:
        return list(column.needed)
    if column.type == "truth":
        return ["true", "false"]
    return list(column.words or found) if column.type == "words" else []
