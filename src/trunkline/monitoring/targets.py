"""Target columns of any file as labels: numbers, or words, however yes and no are spelled there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trunkline.monitoring.series import Array, words_of
from trunkline.serving.cells import READERS
from trunkline.serving.cells.base import plain
from trunkline.tasks.roles import main_tasks

if TYPE_CHECKING:
    from trunkline.tasks import Task

FOLLOWED = ("binary", "multiclass", "ordinal", "regression", "count")
SPELLED = {"0": "false", "1": "true", "no": "false", "yes": "true"}


def followed(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks that are followed behind the training: one label and one prediction per row, judged, exported.

    Not those of several labels, quantiles or times, nor those given another: their label stands in two columns.
    """
    return {name: task for name, task in main_tasks(tasks).items() if task.kind in FOLLOWED and not task.given}


def target_of(task: Task) -> str:
    """Return the column of the labels of a task that is followed."""
    (column,) = task.label_columns
    return column


def read_target(name: str, column: Any, kind: str, classes: list[str] | tuple[str, ...]) -> Array:
    """Return a target column as float64 [rows] with NaN, or as words, str objects [rows], with "" for none.

    Args:
        name: The column's name.
        column: Arrow cells, of text in CSV files.
        kind: The task's kind.
        classes: Of a multiclass task; else empty.

    Raises:
        DataError: The column's type can hold no such label.
    """
    cells = plain(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    if not words_of(kind, classes):
        # Training labels went through float32, and a tie has a bin of its own.
        return READERS["numeric"](name, cells)[0].astype(np.float32).astype(np.float64)
    words = READERS["categorical"](name, cells)[0]
    if classes:
        return words
    spelled = {word: SPELLED.get(word.lower(), word.lower()) for word in set(words.tolist())}
    return np.array([spelled[word] for word in words.tolist()], dtype=object)


def encode_target(values: Array, kind: str, classes: list[str] | tuple[str, ...]) -> Array:
    """Return what `read_target` gave as scores read it: float64 [rows], NaN for no label and for unknown words."""
    words = words_of(kind, classes)
    if not words:
        return values
    place = {word: float(at) for at, word in enumerate(words)}
    return np.array([place.get(word, np.nan) for word in values.tolist()], dtype=np.float64)
