"""Which tasks are followed behind the training, and where their labels stand in a table.

Each label of a multilabel task is followed by itself, as a yes or no called <task>.<label>. A task that is given
another is followed as it is judged: yes or no jointly with what it is given, other kinds where that holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.tasks.given import parent_of
from trunkline.tasks.roles import main_tasks

if TYPE_CHECKING:
    from trunkline.tasks import Task

FOLLOWED = ("binary", "multiclass", "ordinal", "regression", "count")


class Followed(NamedTuple):
    """One prediction per row with one label."""

    task: Task
    """As which it is scored."""

    of: str
    """The declared task that predicts it."""

    place: int | None
    """Of a label of a multilabel task, its place among the labels."""

    given: tuple[dict[str, str], ...]
    """Where it exists: the "target" of each task above, its "kind" and the "word" it must have; the nearest first."""

    @property
    def target(self) -> str:
        """The column of its labels."""
        (column,) = self.task.label_columns
        return column

    @property
    def label_columns(self) -> list[str]:
        """Every column that its labels follow from."""
        return [self.target, *(link["target"] for link in self.given)]

    def facts(self, classes: list[str]) -> dict[str, Any]:
        """Return what reference.json says of it.

        Args:
            classes: Of a task with several; else none.
        """
        held: dict[str, Any] = {"kind": self.task.kind, "target": self.target, "classes": classes}
        of_label = {"output": {"task": self.of, "column": self.place}} if self.place is not None else {}
        return held | of_label | ({"given": list(self.given)} if self.given else {})


def followed(tasks: Mapping[str, Task]) -> dict[str, Followed]:
    """Return what is followed, by name: what is judged and exported, and has one label and one prediction per row.

    Not quantiles, whose prediction are several numbers, nor times, whose label stands in two columns.
    """
    return {name: each for task in main_tasks(tasks) for name, each in _of_task(task, tasks)}


def _of_task(name: str, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Followed]]:
    from trunkline.tasks import BinaryTask

    task = tasks[name]
    if task.kind == "multilabel":
        for place, label in enumerate(task.labels):
            yield f"{name}.{label}", Followed(BinaryTask(kind="binary", target=label), name, place, ())
    elif task.kind in FOLLOWED:
        yield name, Followed(task, name, None, tuple(_links(task, tasks)))


def _links(task: Task, tasks: Mapping[str, Task]) -> Iterator[dict[str, str]]:
    while held := parent_of(task):
        task, value = tasks[held[0]], held[1]
        (column,) = task.label_columns
        yield {"target": column, "kind": task.kind, "word": str(value).lower() if isinstance(value, bool) else value}
