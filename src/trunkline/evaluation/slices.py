"""Scores by the values of a column: where the shared model is good, where it is not, and where sharing helps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from trunkline.evaluation.bootstrap import Spread, draw_rows, draw_seeds, enough_units
from trunkline.evaluation.evidence import Array, Evidence
from trunkline.tasks.metrics import Panel

FEWEST_ROWS = 50  # labelled rows below which a score says next to nothing
MOST_VALUES = 30  # values of a column that are shown each by itself
RANGES = 5  # equally filled ranges for a column of many different numbers
DRAWS = 200  # of the bootstrap behind the interval of a gain, which decides nothing


class Group(NamedTuple):
    """Rows that share a value of a column.

    Attributes:
        value: The value as text, a range of numbers, or "missing".
        rows: True where a row belongs to it, bool [rows].
        pooled: How many values it holds where it holds what is left over, else 0.
    """

    value: str
    rows: Array
    pooled: int = 0


def slice_scores(evidence: Evidence, column: Array, units: Array, seed: int) -> list[dict[str, Any]]:
    """Score one task on each value of a column.

    Args:
        evidence: The task on the test rows.
        column: The column's values, object or number [rows]; None or NaN = missing.
        units: Rows with equal numbers are drawn together, int [rows].
        seed: The project's seed.

    Returns:
        Per value, commonest first and ranges of numbers in their order: labelled rows, and, unless they are too few,
        the primary metric of shared and alone (mean over seeds), the gain and, of several seeds, its interval.
    """
    return [_score(evidence, group, units, seed) for group in groups(column)]


def groups(column: Array) -> list[Group]:
    """Return the rows of each value of a column, then the values left over as one group, then missing ones.

    A column of many different numbers is cut into ranges that hold about as many rows each.

    Example:
        >>> [(group.value, int(group.rows.sum())) for group in groups(np.array(["b", "a", "b", None], dtype=object))]
        [('b', 2), ('a', 1), ('missing', 1)]
    """
    missing = np.array([value is None or value != value for value in column], dtype=bool)
    held = column[~missing]
    numbers = _numbers(held)
    many = numbers is not None and len(np.unique(numbers)) > MOST_VALUES
    found = _ranges(numbers) if many and numbers is not None else _values(held)
    whole = [Group(group.value, _spread(group.rows, ~missing), group.pooled) for group in found]
    return [*whole, Group("missing", missing)] if missing.any() else whole


def _numbers(held: Array) -> Array | None:
    return held.astype(np.float64) if len(held) and np.issubdtype(np.asarray(held.tolist()).dtype, np.number) else None


def _spread(of_held: Array, held: Array) -> Array:
    rows = np.zeros(len(held), dtype=bool)
    rows[held] = of_held
    return rows


def _ranges(numbers: Array) -> Iterator[Group]:
    finite = numbers[np.isfinite(numbers)]
    ends = np.unique(np.quantile(finite, np.linspace(0, 1, RANGES + 1)))
    place = np.clip(np.searchsorted(ends, numbers, side="right") - 1, 0, len(ends) - 2)
    for at, (low, high) in enumerate(itertools.pairwise(ends)):
        yield Group(f"{low:.4g} to {high:.4g}", place == at)


def _values(held: Array) -> Iterator[Group]:
    # Keyed by text: 1 and 1.0, or a word and a number that looks like it, read the same in a report.
    texts = np.array([_text(value) for value in held], dtype=str)
    words, place, counts = np.unique(texts, return_inverse=True, return_counts=True)
    order = sorted(range(len(words)), key=lambda at: (-counts[at], words[at]))
    for at in order[:MOST_VALUES]:
        yield Group(str(words[at]), place == at)
    if rest := order[MOST_VALUES:]:
        yield Group(f"{len(rest)} other values", np.isin(place, rest), len(rest))


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _score(evidence: Evidence, group: Group, units: Array, seed: int) -> dict[str, Any]:
    rows = group.rows & evidence.known
    found: dict[str, Any] = {"value": group.value, "rows": int(rows.sum()), "pooled": group.pooled}
    if found["rows"] < FEWEST_ROWS:
        return found | {"small": True, "shared": None, "alone": None, "gain": None, "interval": None}
    draws = DRAWS if evidence.seeds > 1 and enough_units(units[rows]) else 0
    shared, alone = (_primary(evidence, arm, rows, units, draws, seed) for arm in (evidence.shared, evidence.alone))
    metric = evidence.task.metrics[evidence.task.primary_metric]
    gains = (shared - alone) * (1.0 if metric.higher_is_better else -1.0)
    return found | {
        "small": False,
        "shared": float(shared[0].mean()),
        "alone": float(alone[0].mean()),
        "gain": float(gains[0].mean()),
        "interval": _interval(gains[1:], seed) if draws else None,
    }


def _primary(evidence: Evidence, predictions: Array, rows: Array, units: Array, draws: int, seed: int) -> Array:
    """Return each training's primary metric on the rows as they are, then on each draw, float64 [1 + draws, seeds]."""
    from threadpoolctl import threadpool_limits

    task, labels = evidence.task, evidence.labels[rows]
    panel = Panel(
        [task.resampled(labels, of_seed[rows], evidence.state)[task.primary_metric] for of_seed in predictions]
    )
    with threadpool_limits(1, user_api="blas"):
        blocks = [np.ones((1, len(labels)), dtype=np.uint8)]
        found = [panel(counts) for counts in itertools.chain(blocks, draw_rows(units[rows], draws, seed))]
    return np.asarray(np.concatenate(found, axis=1).T)


def _interval(gains: Array, seed: int) -> list[float] | None:
    weights = draw_seeds(gains.shape[1], len(gains), seed)
    return Spread(gains.mean(axis=1), (gains * weights).sum(axis=1), gains.shape[1]).interval()
