"""The profile of a drop: what later drops are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.validate.raw import label_columns

if TYPE_CHECKING:
    import pandas as pd

    from trunkline.columns import Column
    from trunkline.tasks import Task

LEVELS: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Numbers:
    """The distribution of a number in one drop."""

    known: int
    quantiles: np.ndarray[Any, Any]
    mean: float
    variance: float


@dataclass(frozen=True)
class Profile:
    """What later drops are compared with: per column the missing share, numbers, and rows of each word."""

    missing: Mapping[str, float]
    numbers: Mapping[str, Numbers]
    counts: Mapping[str, Mapping[str, int]]


def profile(frame: pd.DataFrame, columns: Mapping[str, Column], tasks: Mapping[str, Task]) -> Profile:
    """Describe a drop."""
    numeric = [name for name, column in columns.items() if column.kind == "numeric"]
    targets = label_columns(tasks)
    numeric += [name for name, column in targets.items() if column.type == "number"]
    worded = [name for name, column in columns.items() if column.kind == "categorical" and column.values is None]
    return Profile(
        {name: float(frame[name].isna().mean()) for name in [*columns, *targets]},
        {name: _numbers(frame[name].to_numpy(np.float64)) for name in numeric},
        {name: _counts(frame[name]) for name in worded}
        | {name: _counts(frame[name]) for name, column in targets.items() if column.type != "number"},
    )


def _numbers(values: np.ndarray[Any, Any]) -> Numbers:
    known = values[~np.isnan(values)]
    if not len(known):
        return Numbers(0, np.zeros(len(LEVELS)), 0.0, 0.0)
    with np.errstate(over="ignore"):
        variance = float(known.var())
    return Numbers(len(known), np.quantile(known, LEVELS, method="nearest"), float(known.mean()), variance)


def _counts(values: pd.Series[Any]) -> dict[str, int]:
    if values.dtype == np.float64:
        true = int(values.sum())
        return {"true": true, "false": int(values.notna().sum()) - true}
    return {str(word): int(rows) for word, rows in values.value_counts().sort_index().items()}
