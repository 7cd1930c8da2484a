"""Metrics of rows that were drawn again: prepared once per prediction, then a draw costs one pass over the rows.

A draw of the bootstrap is a count per row: how often the row was drawn. What is prepared here returns the metric of
the drawn rows exactly, as the metric with the counts as weights of the rows gives it; nothing is binned for speed.

    Totals      a metric that follows from sums over rows: a mean, r2, f1_macro, calibration_error
    Ranking     metrics of an order: roc_auc and average_precision; the order is found once

A kind of task returns one or the other for each of its metrics (`resampled`), and `Panel` computes many together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 15

SAYS = {
    "log_loss": "mean of minus the logarithm of the probability given to what came true",
    "calibration_error": "mean distance of the stated probability from the observed frequency, in 15 bins",
    "mae": "mean distance of the prediction from the target, in the target's unit",
}
"""What metrics of several kinds are, for the reader of a report."""


class Totals(NamedTuple):
    """A metric that follows from sums of per-row values.

    Attributes:
        values: float64 [sums, rows], an array or a sparse one.
        finish: The metric [draws] of the values' sums over the drawn rows [sums, draws] and of the number of drawn
            rows [draws].
    """

    values: Any
    finish: Callable[[Array, Array], Array]


Resampled = Totals | Callable[[Array], float]
"""A prepared metric: sums and what follows from them, or a function of one draw's counts [rows]."""


def mean(values: Array) -> Totals:
    """Prepare the mean of a value per row [rows]."""
    return Totals(values[None].astype(np.float64), lambda sums, size: sums[0] / size)


def root_mean(values: Array) -> Totals:
    """Prepare the square root of the mean of a value per row [rows]."""
    return Totals(values[None].astype(np.float64), lambda sums, size: np.sqrt(sums[0] / size))


def r2(truth: Array, value: Array) -> Totals:
    """Prepare the share of the drawn rows' variance that a value explains.

    Args:
        truth: float64 [rows].
        value: float64 [rows].
    """
    # About the mean of all rows, so that the variance of the drawn ones is no difference of two large numbers.
    centred = truth - truth.mean()
    return Totals(np.stack([centred, centred**2, (truth - value) ** 2]), _explained)


def _explained(sums: Array, size: Array) -> Array:
    total, squares, errors = sums
    spread = squares - total**2 / size
    # Equal labels leave a rest of rounding and no variance to explain.
    return np.where(spread > 1e-12 * squares, 1 - errors / spread, np.nan)


def confidence_bins(confidence: Array, bins: int = BINS) -> Array:
    """Return the place of each confidence, 0 to 1, among equal bins that hold their upper end, int64 [rows]."""
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))


def calibration(confidence: Array, correct: Array, bins: int = BINS) -> Totals:
    """Prepare the calibration error.

    Args:
        confidence: Probabilities [rows], 0 to 1.
        correct: 1 where it came true, else 0 [rows].
        bins: Equal-width bins; each counts by its rows.
    """
    gaps = _by_group([(confidence_bins(confidence, bins), confidence.astype(np.float64) - correct)], bins)
    return Totals(gaps, lambda sums, size: np.abs(sums).sum(axis=0) / size)


def f1_macro(truth: Array, chosen: Array, classes: int) -> Totals:
    """Prepare the mean over classes of the F1 score; a class that was neither drawn nor chosen counts as 0.

    Args:
        truth: Places of the true classes, int64 [rows].
        chosen: Places of the predicted classes, int64 [rows].
        classes: How many there are.
    """
    ones = np.ones(len(truth))
    values = _by_group([(truth, (truth == chosen).astype(np.float64)), (truth, ones), (chosen, ones)], classes)

    def finish(sums: Array, size: Array) -> Array:
        hits, true, said = sums.reshape(3, classes, -1)
        score = 2 * hits / np.maximum(true + said, 1)
        return np.where(size > 0, score.mean(axis=0), np.nan)

    return Totals(values, finish)


def _by_group(parts: Sequence[tuple[Array, Array]], groups: int) -> Any:
    """Return sparse values [parts x groups, rows] that hold each part's value in the line of its row's group."""
    from scipy import sparse

    rows = len(parts[0][0])
    lines = np.concatenate([place * groups + group for place, (group, _) in enumerate(parts)])
    values = np.concatenate([value for _, value in parts])
    columns = np.tile(np.arange(rows), len(parts))
    return sparse.csr_array((values, (lines, columns)), shape=(len(parts) * groups, rows))


class Ranking:
    """Rows with a yes and rows with a no, each in the order of their scores.

    Args:
        truth: 0 or 1 [rows].
        score: A higher one says yes sooner, float [rows].
    """

    def __init__(self, truth: Array, score: Array) -> None:
        self.positives, of_yes = _sorted(np.flatnonzero(truth == 1), score)
        self.negatives, of_no = _sorted(np.flatnonzero(truth != 1), score)
        self.below = np.searchsorted(of_no, of_yes, side="left")
        self.up_to = np.searchsorted(of_no, of_yes, side="right")
        self.tied_from = np.searchsorted(of_yes, of_yes, side="left")

    def roc_auc(self, counts: Array) -> float:
        """Return the chance that a drawn yes stands above a drawn no, ties counting half; NaN without both.

        Args:
            counts: How often each row was drawn, unsigned integers [rows].
        """
        drawn, before = counts.take(self.positives).astype(np.float64), _running(counts, self.negatives)
        pairs = drawn.sum() * float(before[-1])
        ranks = before.take(self.below) + before.take(self.up_to)
        return float(drawn @ ranks / (2 * pairs)) if pairs else float("nan")

    def average_precision(self, counts: Array) -> float:
        """Return the mean over the drawn yes of the precision at its score; NaN without both classes.

        Args:
            counts: How often each row was drawn, unsigned integers [rows].
        """
        yes, no = _running(counts, self.positives), _running(counts, self.negatives)
        if not yes[-1] or not no[-1]:
            return float("nan")
        right = (yes[-1] - yes.take(self.tied_from)).astype(np.float64)
        wrong = no[-1] - no.take(self.below)
        # A yes that was not drawn may have nothing at or above it; it has no weight.
        precision = right / np.maximum(right + wrong, 1)
        return float(np.diff(yes) @ precision / yes[-1])


def _sorted(rows: Array, score: Array) -> tuple[Array, Array]:
    order = rows[np.argsort(score[rows], kind="stable")]
    return order, score[order]


def _running(counts: Array, order: Array) -> Array:
    """Return how many rows were drawn among the first 0, 1, 2... of an order, int64 [rows + 1]."""
    found = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(counts.take(order), out=found[1:])
    return found


class Panel:
    """Metrics of several predictions of the same rows, computed together.

    Args:
        metrics: The prepared metrics.
    """

    def __init__(self, metrics: Sequence[Resampled]) -> None:
        self.metrics = list(metrics)
        dense = [metric.values for metric in self.metrics if isinstance(metric, Totals) and _is_dense(metric)]
        self.stacked = np.concatenate(dense) if dense else None
        self.ends = np.cumsum([len(values) for values in dense])[:-1]
        self.needs_weights = any(isinstance(metric, Totals) for metric in self.metrics)

    def __call__(self, counts: Array) -> Array:
        """Return every metric of every draw, float64 [metrics, draws]; NaN where it does not exist.

        Args:
            counts: How often each row was drawn, unsigned integers [draws, rows].
        """
        weights = np.ascontiguousarray(counts.T, dtype=np.float64) if self.needs_weights else None
        stacked = [] if self.stacked is None else np.split(self.stacked @ weights, self.ends)
        size, sums = counts.sum(axis=1, dtype=np.int64), iter(stacked)
        found = np.empty((len(self.metrics), len(counts)))
        with np.errstate(divide="ignore", invalid="ignore"):
            for place, metric in enumerate(self.metrics):
                if isinstance(metric, Totals):
                    found[place] = metric.finish(next(sums) if _is_dense(metric) else metric.values @ weights, size)
                else:
                    found[place] = [metric(drawn) for drawn in counts]
        return found


def _is_dense(metric: Totals) -> bool:
    return isinstance(metric.values, np.ndarray)
