"""Columns, predictions and labels as the two sorts of values that drift is measured on: numbers and words."""

from __future__ import annotations

from typing import Any

import numpy as np

from trunkline.monitoring.profiles import Numbers, Profile, Words
from trunkline.serving.cells import Kind

Array = np.ndarray[Any, Any]
DIGITS = 5  # of a prediction that count; another processor gives other last ones


def of_column(kind: Kind, values: Array) -> Array:
    """Return an input's feed [rows, 1] as float or str objects [rows].

    A moment is there or missing; where it lies is no drift, since time goes on.
    """
    if kind == "timestamp":
        return np.where(values[:, 0] == np.iinfo(np.int64).min, np.nan, 0.0)
    return values[:, 0]


def of_prediction(prediction: Array, classes: list[str] | tuple[str, ...]) -> Array:
    """Return a task's prediction as numbers, or as the likeliest class.

    Args:
        prediction: float [rows, 1 or classes]; a row of NaN has none.
        classes: Of a multiclass task; else empty.
    """
    if not classes:
        return rounded(prediction[:, 0].astype(np.float64))
    words = np.array([*classes, ""], dtype=object)
    return np.asarray(words[np.where(np.isnan(prediction[:, 0]), len(classes), prediction.argmax(axis=1))])


def words_of(kind: str, classes: list[str] | tuple[str, ...]) -> list[str]:
    """Return the words of a task's labels in their order; none where they are numbers."""
    return list(classes) or (["false", "true"] if kind == "binary" else [])


def of_label(kind: str, labels: Array, classes: list[str] | tuple[str, ...]) -> Array:
    """Return a task's labels as numbers, or as words.

    Args:
        kind: The task's kind.
        labels: As the task kind encodes them, float [rows], NaN = no label.
        classes: Of a multiclass task; else empty.
    """
    words = words_of(kind, classes)
    if not words:
        return labels.astype(np.float32).astype(np.float64)
    place = np.where(np.isnan(labels), len(words), labels).astype(np.int64)
    return np.asarray(np.array([*words, ""], dtype=object)[place])


def rounded(values: Array) -> Array:
    """Return numbers to five digits that count, so that a constant prediction is one number everywhere.

    Example:
        >>> rounded(np.array([0.1234567, 0.0, np.nan])).tolist()
        [0.12346, 0.0, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = np.where(values == 0, 0.0, np.floor(np.log10(np.abs(values))))
    scale = 10.0 ** np.where(np.isfinite(digits), DIGITS - 1 - digits, 0.0)
    return np.asarray(np.where(np.isfinite(values), np.rint(values * scale) / scale, np.nan))


def profile(values: Array) -> Profile:
    """Return the profile of numbers, float [rows], or of words, objects [rows]."""
    return Words.of(values) if values.dtype == object else Numbers.of(values)
