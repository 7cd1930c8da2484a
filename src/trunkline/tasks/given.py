"""Tasks that exist only where another task has a value: a purchase given a click, a delay given no cancellation.

    tasks:
      click:    {kind: binary, target: clicked}
      purchase: {kind: binary, target: bought, given: {click: true}}

The child's head gives the conditional prediction: of the child where the parent has the value.

binary child    <child>.probability is the joint one, p(parent has the value) p(child | it has): never above that of the
                parent. <child>.conditional is the second factor by itself. What is judged, against a model that learns
                it alone, is the joint: its label is that of the child where the parent has the value, and false where
                the parent has another one, on all rows where the parent's label is known.
other kinds     <child>.value (of classes <child>.probability) stays the conditional prediction, on every row. What is
                judged are the rows where the parent has the value.

labels          Rows in which the parent has another value teach the child's head nothing, whatever the child's column
                holds there; nor do rows without the parent's label, which might be of either sort. Where some of the
                child's labels are missing although the parent has the value, as large a share of the rows where it has
                another one is left out of the joint, evenly spread: else the joint would be rarer than it is.

source  entire_space: Ma et al. 2018, "Entire Space Multi-Task Model", arXiv:1804.07931
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.declared import did_you_mean
from trunkline.errors import DataError

if TYPE_CHECKING:
    from trunkline.tasks import Task, TaskState

Array = np.ndarray[Any, Any]

PARENT_KINDS = ("binary", "multiclass")
GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, fill the interval evenly


def parent_of(task: Task) -> tuple[str, bool | str] | None:
    """Return the parent of a task and the value it must have; None for a task that is given nothing."""
    return next(iter(task.given.items())) if task.given else None


def ancestors(name: str, tasks: Mapping[str, Task]) -> list[str]:
    """Return the parent of a task, the parent's parent and so on; ends where a name comes up again."""
    found: list[str] = []
    while (held := parent_of(tasks[name])) and held[0] in tasks and held[0] not in found:
        name = held[0]
        found.append(name)
    return found


def parents_first(tasks: Mapping[str, Task]) -> list[str]:
    """Return the tasks' names, each behind its parent, else in their order."""
    return sorted(tasks, key=lambda name: len(ancestors(name, tasks)))


def given_problems(tasks: Mapping[str, Task]) -> Iterator[str]:
    """Yield a sentence for each `given` that cannot be."""
    for name, task in tasks.items():
        held = parent_of(task)
        if task.conditional == "entire_space" and (held is None or task.kind != "binary"):
            lacking = "given" if held is None else "kind: binary"
            yield f"tasks.{name}.conditional: entire_space takes {lacking}; add it, or remove conditional"
        if held is not None and len(task.label_columns) > 1:
            yield f"tasks.{name}.given: kind {task.kind} has several label columns; `given` takes a task with one"
        elif held is not None:
            yield from _link_problems(name, *held, tasks)


def _link_problems(name: str, parent: str, value: bool | str, tasks: Mapping[str, Task]) -> Iterator[str]:
    where = f"tasks.{name}.given"
    if parent not in tasks:
        yield f"{where}: '{parent}' is no task{did_you_mean(parent, tasks) or '; declare it, or remove given'}"
        return
    line = ancestors(name, tasks)
    if name in line:
        circle = " -> ".join([name, *line[: line.index(name) + 1]])
        yield f"{where}: goes round in a circle ({circle}); one of them must be given nothing"
        return
    above = tasks[parent]
    if above.kind not in PARENT_KINDS:
        yield f"{where}: '{parent}' is of kind {above.kind}; a task can be given a binary or multiclass one"
    elif (above.kind == "binary") != isinstance(value, bool):
        expected = "true or false" if above.kind == "binary" else "one of its classes"
        yield f"{where}: found {value!r} as the value of the {above.kind} task '{parent}'; write {expected}"
    elif above.kind == "multiclass" and above.classes and value not in above.classes:
        hint = did_you_mean(str(value), above.classes) or f"; they are {', '.join(above.classes)}"
        yield f"{where}: '{value}' is no class of '{parent}'{hint}"


def defined(name: str, tasks: Mapping[str, Task], read: Callable[[str], Array]) -> Array:
    """Return where a task exists: float32 [rows], 1 = yes, 0 = no, NaN = not known.

    Args:
        name: The task.
        tasks: All tasks.
        read: Gives the labels of a task as its kind reads them: float64 with NaN, or str objects with None.
    """
    parent, value = parent_of(tasks[name]) or (None, None)
    if parent is None:
        return np.ones(len(read(name)), dtype=np.float32)
    labels, above = read(parent), defined(parent, tasks, read)
    known = ~_missing(labels)
    holds = np.where(known, labels == value, np.nan).astype(np.float32)
    return np.where(above == 1, holds, above)


def _missing(labels: Array) -> Array:
    lacks = np.array([label is None for label in labels]) if labels.dtype == object else np.isnan(labels)
    return np.asarray(lacks, dtype=np.bool_)


def conditional(labels: Array, exists: Array) -> Array:
    """Return the labels of the rows in which the task exists; all others get none.

    Args:
        labels: As the kind reads them, [rows].
        exists: From `defined`.
    """
    nothing: Any = None if labels.dtype == object else np.nan
    return np.where(exists == 1, labels, nothing)


def joint(labels: Array, exists: Array, share: float) -> Array:
    """Return the labels of "the task exists and is true", float64 [rows].

    Args:
        labels: Of the child, 0, 1 or NaN [rows], of one side.
        exists: From `defined`.
        share: Of the rows in which the task exists, those with a label: as large a share is kept of the others.
    """
    places = np.cumsum(exists == 0) - 1.0
    kept = (exists == 0) & ((places * GOLDEN) % 1.0 < share)
    return np.where(kept, 0.0, conditional(labels, exists))


def labelled_share(labels: Array, exists: Array) -> float:
    """Return the share of the rows in which the task exists that has a label; 1 where there is no such row."""
    lacking = _missing(labels)[exists == 1]
    return 1.0 - float(lacking.mean()) if len(lacking) else 1.0


def judged_labels(name: str, tasks: Mapping[str, Task], read: Callable[[str], Array], share: float) -> Array:
    """Return the labels that a task is scored by, as its kind reads them, for the rows of one side.

    Args:
        name: The task.
        tasks: All tasks.
        read: As for `defined`.
        share: As for `joint`; says nothing of other kinds than binary ones.
    """
    task, labels = tasks[name], read(name)
    if not task.given:
        return labels
    exists = defined(name, tasks, read)
    return joint(labels, exists, share) if task.kind == "binary" else conditional(labels, exists)


def fit_head(name: str, tasks: Mapping[str, Task], read: Callable[[str], Array], parent: TaskState) -> TaskState:
    """Learn from the training labels what a child's conditional head starts from.

    Args:
        name: The child.
        tasks: All tasks.
        read: As for `defined`, of the training rows.
        parent: The parent's state.

    Returns:
        The state of the kind, of the rows in which the child exists; under `given` the parent, the value and its place
        among the parent's classes, and the share of those rows that has a label.

    Raises:
        DataError: No training label of the parent has the value, or those of the child cannot teach its kind.
    """
    above, value = parent_of(tasks[name]) or ("", "")
    classes = parent.get("classes", [False, True])
    if value not in classes:
        raise DataError(
            f"task '{name}': given {above}: {value}, but no training label of '{above}' is that; found "
            f"{', '.join(classes)}.\n  Check tasks.{name}.given"
        )
    exists = defined(name, tasks, read)
    held = {
        "parent": above,
        "value": value,
        "class": classes.index(value),
        "conditional": tasks[name].conditional,
        "labelled": labelled_share(read(name), exists),
    }
    return tasks[name].fit(name, conditional(read(name), exists)) | {"given": held}


def placed(heads: Mapping[str, TaskState], plain: Mapping[str, TaskState]) -> dict[str, TaskState]:
    """Return the states of the heads of one model, where a child's says at which place its parent stands.

    A child whose line of parents is not wholly among the model's tasks is learned as alone: as it is judged.

    Args:
        heads: Of all the model's tasks, in their order, the states of conditional heads.
        plain: Their states as they are judged.
    """
    order = list(heads)

    def whole(name: str) -> bool:
        held = heads[name].get("given")
        return held is None or (held["parent"] in heads and whole(held["parent"]))

    def with_place(state: TaskState) -> TaskState:
        held = state.get("given")
        return {**state, "given": {**held, "place": order.index(held["parent"])}} if held else state

    return {name: with_place(state) if whole(name) else plain[name] for name, state in heads.items()}


def head_labels(states: Mapping[str, TaskState], labels: Mapping[str, Array]) -> dict[str, Array]:
    """Return the labels of conditional predictions, float32 [rows] per task; NaN where the task does not exist.

    Args:
        states: Of the heads of one model, from `placed`.
        labels: As tasks are judged, encoded, float32 [rows] per task; at least those of `states`.
    """
    found: dict[str, Array] = {}

    def of(name: str) -> Array:
        if name not in found:
            held = states[name].get("given")
            own = labels[name]
            found[name] = np.where(of(held["parent"]) == held["class"], own, np.float32(np.nan)) if held else own
        return found[name]

    return {name: of(name) for name in states}


def loss_labels(states: Mapping[str, TaskState], labels: Mapping[str, Array]) -> dict[str, Array]:
    """Return the labels that the losses read; arguments as those of `head_labels`."""
    entire = {name for name, state in states.items() if through_all_rows(state)}
    conditional = head_labels(states, labels)
    return {name: labels[name] if name in entire else conditional[name] for name in states}


def through_all_rows(state: TaskState) -> bool:
    """Whether a head learns through the product with its parent's probability, on all rows."""
    return bool(state.get("given", {}).get("conditional") == "entire_space")


def is_joint(state: TaskState) -> bool:
    """Whether a task's prediction is its head's times the probability that the task exists."""
    return state["kind"] == "binary" and "given" in state
