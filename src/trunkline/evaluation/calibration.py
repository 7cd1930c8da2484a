"""What predictions promise against what happened: by confidence, over time, and whether regions hold the label.

Everything here is a pure function of arrays and gives plain JSON. A point of a curve is always

    {"rows", "predicted", "observed", "interval"}     and where it lies: "low" and "high", or "start" and "end"

with the means over its rows, and the 95 % interval of what was observed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.tasks import TaskState, kind_of
from trunkline.tasks.metrics import BINS, confidence_bins

Array = np.ndarray[Any, Any]
Point = dict[str, Any]

Z = 1.959963984540054  # of a two-sided 95 % interval
HISTOGRAM_BINS = 20
TAIL = 0.005  # share of numbers at either end that a histogram puts into its outermost bins
FEWEST_MONTHS, MOST_MONTHS = 3, 24  # with fewer or more, time is cut into blocks of equally many rows
BLOCKS = 12


def analyse(evidence: Evidence, rows: TestRows) -> dict[str, Any]:
    """Return "calibration", "histogram" and, where rows have a time, "calibration_over_time" of the exported model.

    Args:
        evidence: One task on the test rows.
        rows: What else is known of them.
    """
    known = evidence.known
    prediction, labels = evidence.shared[evidence.exported][known], evidence.labels[known]
    predicted, observed = promise(evidence.state, prediction, labels)
    told, number = ~np.isnan(observed), evidence.task.promises == "number"
    curve = value_curve if number else calibration_curve
    found: dict[str, Any] = {
        "calibration": curve(predicted[told], observed[told]),
        "histogram": histogram(evidence.state, prediction, labels),
    }
    if rows.time is not None and told.any():
        time = np.repeat(rows.time[known], len(observed) // len(labels))[told]
        found["calibration_over_time"] = over_time(time, predicted[told], observed[told], number=number)
    return found


def promise(state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
    """Return what was promised and what came, float64 [rows] each; NaN where it is not known what came.

    Of a binary task the probability and whether it came true; of several classes the probability of the likeliest
    and whether it was the one; of a number the value and the label; other kinds say it themselves.

    Args:
        state: The task's state.
        prediction: float [rows, columns].
        labels: float [rows], none of them NaN.
    """
    return kind_of(state).promise(state, prediction, labels)


def wilson(hits: float, rows: int) -> list[float]:
    """Return the 95 % interval of a share that was seen as `hits` of `rows`.

    Source:
        Wilson 1927. Unlike mean and standard error it stays within 0 to 1 and holds near the ends.

    Example:
        >>> [round(end, 3) for end in wilson(0, 10)], [round(end, 3) for end in wilson(5, 10)]
        ([0.0, 0.278], [0.237, 0.763])
    """
    share, ease = hits / rows, Z**2 / rows
    middle = share + ease / 2
    reach = math.sqrt(share * (1 - share) * ease + ease**2 / 4)
    return [max(0.0, (middle - reach) / (1 + ease)), min(1.0, (middle + reach) / (1 + ease))]


def calibration_curve(confidence: Array, correct: Array) -> list[Point]:
    """Return a point per equal-width bin of confidence that holds rows, from low to high.

    Args:
        confidence: Probabilities [rows], 0 to 1.
        correct: 1 where it came true, else 0 [rows].
    """
    place = confidence_bins(confidence)
    return [
        {"low": bin / BINS, "high": (bin + 1) / BINS, **_point(confidence, correct, place == bin)}
        for bin in np.unique(place).tolist()
    ]


def value_curve(value: Array, label: Array) -> list[Point]:
    """Return a point per bin of predicted values, each with about as many rows, from low to high.

    Args:
        value: Predictions [rows], in the target's unit.
        label: What came [rows].
    """
    place = _equal_blocks(value, BINS)
    points = []
    for bin in np.unique(place).tolist():
        chosen = place == bin
        ends = {"low": float(value[chosen].min()), "high": float(value[chosen].max())}
        points.append(ends | _point(value, label, chosen, number=True))
    return points


def over_time(time: Array, predicted: Array, observed: Array, *, number: bool) -> list[Point]:
    """Return a point per month, or where months are under 3 or over 24, per block of about as many rows.

    Args:
        time: datetime64[s] [rows].
        predicted: What was promised [rows].
        observed: What came [rows].
        number: Whether it is a number and no share.
    """
    months = np.unique(time.astype("datetime64[M]"), return_inverse=True)
    by_month = FEWEST_MONTHS <= len(months[0]) <= MOST_MONTHS
    place = months[1] if by_month else _equal_blocks(time, BLOCKS)
    points = []
    for block in np.unique(place).tolist():
        chosen = place == block
        ends = {"start": str(time[chosen].min()), "end": str(time[chosen].max())}
        points.append(ends | _point(predicted, observed, chosen, number=number))
    return points


def _equal_blocks(values: Array, blocks: int) -> Array:
    """Return each row's block by ascending value; equal values stay together, so that row order says nothing."""
    ordered = np.sort(values)
    starts = np.unique(ordered[[len(ordered) * block // blocks for block in range(1, blocks)]])
    return np.searchsorted(starts, values, side="right")


def _point(predicted: Array, observed: Array, chosen: Array, *, number: bool = False) -> Point:
    rows, came = int(chosen.sum()), observed[chosen]
    return {
        "rows": rows,
        "predicted": float(predicted[chosen].mean()),
        "observed": float(came.mean()),
        "interval": _of_mean(came) if number else wilson(float(came.sum()), rows),
    }


def _of_mean(values: Array) -> list[float] | None:
    if len(values) < 2:
        return None
    mean, reach = float(values.mean()), Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return [mean - reach, mean + reach]


def histogram(state: TaskState, prediction: Array, labels: Array) -> dict[str, Any]:
    """Count predictions in 20 equal-width bins.

    Args:
        state: The task's state.
        prediction: float [rows, 1 or classes].
        labels: float [rows], none of them NaN.

    Returns:
        "edges", 21 ascending numbers, and "counts", 20 per series. Binary: the probability of "true", apart for rows
        that were "false" and "true". Several classes: per class the probability that its own rows got for it.
        Numbers: "label" and "prediction"; the outermost bins hold also what lies beyond them.
    """
    kind = kind_of(state)
    series = kind.spread(state, prediction, labels)
    if kind.spreads == "share":
        return _counted(series, 0.0, 1.0)
    low, high = np.quantile(np.concatenate(list(series.values())), [TAIL, 1 - TAIL]).tolist()
    return _counted(series, low, high if high > low else low + 1)


def _counted(series: dict[str, Array], low: float, high: float) -> dict[str, Any]:
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = {name: np.histogram(np.clip(values, low, high), edges)[0].tolist() for name, values in series.items()}
    return {"edges": edges.tolist(), "counts": counts}


def measure_coverage(state: TaskState, labels: Array, parts: Sequence[Array], asked: float) -> dict[str, Any]:
    """Say how often an interval or a set held the label, and how wide it was.

    Args:
        state: The task's state.
        labels: float [rows], numbers in the target's own unit; NaN = no label.
        parts: Lower and upper end, float [rows, 1] each, or the set, bool [rows, classes].
        asked: The coverage that was declared.

    Returns:
        "asked", "rows", "coverage" and its 95 % "interval"; of a number "mean_width" in its unit; of classes
        "mean_size", "empty" (share of sets that hold no class) and "classes": the same by the rows' class.
    """
    known = ~np.isnan(labels)
    words = kind_of(state).words(state)
    if words is None:
        lower, upper = (part[known, 0].astype(np.float64) for part in parts)
        held = (lower <= labels[known]) & (labels[known] <= upper)
        return {"asked": asked, **_held(held), "mean_width": float((upper - lower).mean())}
    truth, sets = labels[known].astype(np.int64), parts[0][known]
    held, sizes = sets[np.arange(len(truth)), truth], sets.sum(axis=1)
    of_class = {word: _held(held[truth == place]) for place, word in enumerate(words) if (truth == place).any()}
    size = {"mean_size": float(sizes.mean()), "empty": float((sizes == 0).mean())}
    return {"asked": asked, **_held(held), **size, "classes": of_class}


def _held(held: Array) -> dict[str, Any]:
    hits, rows = int(held.sum()), len(held)
    return {"rows": rows, "coverage": hits / rows, "interval": wilson(hits, rows)}
