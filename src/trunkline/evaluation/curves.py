"""Learning curves out of history.tsv: what a column held after each epoch, per seed and in the mean of the seeds."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a curve: after `epoch` (from 1) of the training with seed `seed` (from 0)."""

    seed: int
    epoch: int
    value: float


def read_curve(history: str, column: str) -> list[Point]:
    """Return a column of history.tsv, in the order of its rows; values that are no finite number are left out.

    Args:
        history: The text of the file.
        column: Such as "composite" or "validation.<task>"; no point where the file has no such column.
    """
    found = []
    for row in csv.DictReader(history.splitlines(), delimiter="\t"):
        value = float(row.get(column) or "nan")
        if math.isfinite(value):
            found.append(Point(int(row["seed"]), int(float(row["epoch"])), value))
    return found


def mean_curve(points: Sequence[Point]) -> list[tuple[int, float]]:
    """Return (epoch, mean over seeds) for each epoch that every seed reached.

    A seed that stopped early would move the mean of the others, so the epochs after it are left out.

    Example:
        >>> mean_curve([Point(0, 1, 0.9), Point(1, 1, 0.7), Point(0, 2, 0.6)])
        [(1, 0.8)]
    """
    seeds = {point.seed for point in points}
    of_epoch: defaultdict[int, list[float]] = defaultdict(list)
    for point in points:
        of_epoch[point.epoch].append(point.value)
    whole = {epoch: values for epoch, values in of_epoch.items() if len(values) == len(seeds)}
    return [(epoch, math.fsum(values) / len(values)) for epoch, values in sorted(whole.items())]
