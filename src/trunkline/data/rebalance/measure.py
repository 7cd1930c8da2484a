"""The training labels of a task, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask, Task


def measure(task: Task, labels: pa.Array | pa.ChunkedArray) -> tuple[dict[str, int], Any, np.ndarray[Any, Any]]:
    """Return rows per class, the prior, and the known labels [labelled rows], as `plan` describes them."""
    known = pl.Series(labels).drop_nulls()
    if task.kind == "regression":
        known = known.filter(known.is_finite())
    classes, prior = MEASURES[task.kind](task, known)
    return classes, prior, known.to_numpy()


def _of_binary(task: BinaryTask, known: pl.Series) -> tuple[dict[str, int], float | None]:
    positives = int(known.sum())
    classes = {"false": len(known) - positives, "true": positives}
    return classes, positives / len(known) if len(known) else None


def _of_multiclass(task: MulticlassTask, known: pl.Series) -> tuple[dict[str, int], dict[str, float] | None]:
    found = dict(known.value_counts().iter_rows())
    classes = {word: int(found.get(word, 0)) for word in task.classes or sorted(found)}
    total = sum(classes.values())
    return classes, {word: count / total for word, count in classes.items()} if total else None


def _of_regression(task: RegressionTask, known: pl.Series) -> tuple[dict[str, int], dict[str, float] | None]:
    values = known.to_numpy()
    return {}, {"mean": float(values.mean()), "sd": float(values.std())} if len(values) else None


MEASURES: dict[str, Callable[..., tuple[dict[str, int], Any]]] = {
    "binary": _of_binary,
    "multiclass": _of_multiclass,
    "regression": _of_regression,
}
