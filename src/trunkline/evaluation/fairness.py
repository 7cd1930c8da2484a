"""How a task treats the groups of a sensitive column: what each group gets, and how far the groups lie apart.

    binary       selection_rate        share of rows whose probability reaches the threshold
                 true_positive_rate    the same share among the rows that are positive
                 false_positive_rate   the same share among the rows that are negative
                 calibration           mean probability minus the share of positives
    multiclass   accuracy              share of rows whose likeliest class is the true one
                 selection_rate.CLASS  share of rows whose likeliest class is CLASS
    regression   bias                  mean of prediction minus label, in the target's own unit
                 mae                   mean distance of prediction and label

The exported model is judged. Selection rates count all rows, the others those with a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from trunkline.chance import numpy_stream
from trunkline.evaluation.evidence import Array, Evidence, TestRows
from trunkline.tasks.base import Measure

FEWEST_ROWS = 50  # rows behind a group's value (positives, for a true positive rate), else it makes no gap
FEWEST_UNITS = 10  # units over which they spread: what lies in fewer tells nothing of chance
MOST_UNITS = 20_000  # units drawn one by one; more are drawn in blocks, at which the spread of a sum is the same
WEIGHTS_AT_ONCE = 4_000_000
CONFIDENCE = 0.95
NORMAL = 1.959964  # reach of CONFIDENCE in standard deviations


class _Grouped(NamedTuple):
    """Rows of one sensitive column, summed by unit within group.

    codes [rows]; names of the groups; per cell (a unit's rows in one group) its group, its unit and the sums of the
    measures of all tasks [cells, 2 * measures], tops before bottoms.
    """

    codes: Array
    names: list[str]
    group: Array
    unit: Array
    sums: Array


def judge_fairness(
    evidence: Sequence[Evidence], rows: TestRows, sensitive: Sequence[str], draws: int, seed: int
) -> dict[str, Any]:
    """Judge the exported model on every group of every sensitive column.

    Args:
        evidence: The tasks on the test rows.
        rows: Their units, and the values of the sensitive columns.
        sensitive: The columns.
        draws: Draws of the bootstrap over units.
        seed: The project's seed.

    Returns:
        By column and task: `threshold` and where it is from (binary), `groups` with the rows, labelled rows and
        measures of each, and `gaps`: per measure the largest difference between two groups that have enough rows,
        those two, the groups left out for having too few, and the interval; None where there are no two such groups.
        All intervals are 95 %; that of a gap holds for all pairs of groups at once, as the two furthest apart are
        picked after looking.
    """
    if not sensitive:
        return {}
    measures = [list(_measures(task)) for task in evidence]
    units = _blocks(rows.units, numpy_stream(seed, "fairness", "blocks"))
    grouped = [_grouped(rows.columns[column], units, measures) for column in sensitive]
    drawn = _draw(grouped, int(units.max()) + 1, draws, numpy_stream(seed, "fairness"))
    return {
        column: _column(evidence, measures, of_column, values)
        for column, of_column, values in zip(sensitive, grouped, drawn, strict=True)
    }


def threshold_of(evidence: Evidence) -> tuple[float, str]:
    """Return the probability from which on a row is selected, and where it is from.

    It is the task's declared threshold, else the share of positives in training: what a row must reach to be likelier
    positive than most.
    """
    assert evidence.task.kind == "binary"
    return evidence.task.cut(evidence.state)


def _measures(evidence: Evidence) -> Iterator[Measure]:
    return evidence.task.group_measures(evidence.state, evidence.shared[evidence.exported], evidence.labels)


# --- drawing units again ----------------------------------------------------------------------------------


def _blocks(units: Array, stream: np.random.Generator) -> Array:
    """Number the units from 0; where there are very many, put them into blocks by chance."""
    _, numbered = np.unique(units, return_inverse=True)
    count = int(numbered.max()) + 1
    return numbered if count <= MOST_UNITS else (stream.permutation(count) % MOST_UNITS)[numbered]


def _grouped(values: Array, units: Array, measures: Sequence[Sequence[Measure]]) -> _Grouped:
    import pyarrow as pa

    from trunkline.data.groups import group_codes

    codes, names = group_codes(pa.array(values, from_pandas=True))
    order = np.lexsort((units, codes))
    group, unit = codes[order], units[order]
    first = np.flatnonzero(np.r_[True, (np.diff(group) != 0) | (np.diff(unit) != 0)])
    flat = [measure for of_task in measures for measure in of_task]
    parts = [*(measure.top for measure in flat), *(measure.bottom for measure in flat)]
    sums = np.stack([np.add.reduceat(part[order].astype(np.float64), first) for part in parts], axis=1)
    return _Grouped(codes, names, group[first], unit[first], sums)


def _draw(grouped: Sequence[_Grouped], units: int, draws: int, stream: np.random.Generator) -> list[Array]:
    """Return per column the values of all measures when the units are drawn again, [draws, groups, measures]."""
    at_once = max(1, WEIGHTS_AT_ONCE // units)
    parts: list[list[Array]] = [[] for _ in grouped]
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        places = stream.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
        weights = np.bincount(places.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)
        for of_column, held in zip(grouped, parts, strict=True):
            held.append(
                np.stack([weights[:, of_column.unit[own]] @ of_column.sums[own] for own in _cells(of_column)], 1)
            )
    return [_ratio(np.concatenate(held)) for held in parts]


def _cells(of_column: _Grouped) -> list[slice]:
    ends = np.searchsorted(of_column.group, np.arange(len(of_column.names) + 1))
    return [slice(first, last) for first, last in pairwise(ends.tolist())]


def _ratio(sums: Array) -> Array:
    """Return tops by bottoms along the last axis; NaN where nothing counts."""
    tops, bottoms = np.split(sums, 2, axis=-1)
    values: Array = np.divide(tops, bottoms, out=np.full(tops.shape, np.nan), where=bottoms > 0)
    return values


# --- values, intervals, gaps ------------------------------------------------------------------------------


class _Found(NamedTuple):
    """One measure of one column: per group its value, the rows behind it, their units; and the value per draw."""

    names: list[str]
    values: Array
    counts: Array
    units: Array
    errors: Array
    rate: bool


def _column(
    evidence: Sequence[Evidence], measures: Sequence[Sequence[Measure]], of_column: _Grouped, drawn: Array
) -> dict[str, Any]:
    cells = _cells(of_column)
    sums = np.stack([of_column.sums[own].sum(axis=0) for own in cells])
    values, counts = _ratio(sums), np.split(sums, 2, axis=1)[1]
    units = np.array([own.stop - own.start for own in cells])
    judged, place = {}, 0
    for task, of_task in zip(evidence, measures, strict=True):
        found = {}
        for measure in of_task:
            # A draw that holds no row of a group says nothing about it, and counts as no error.
            errors = np.nan_to_num(drawn[..., place] - values[:, place])
            found[measure.name] = _Found(
                of_column.names, values[:, place], counts[:, place], units, errors, measure.rate
            )
            place += 1
        judged[task.name] = _task(task, of_column, found)
    return judged


def _task(evidence: Evidence, of_column: _Grouped, found: dict[str, _Found]) -> dict[str, Any]:
    size = len(of_column.names)
    rows, labelled = (
        np.bincount(of_column.codes, minlength=size),
        np.bincount(of_column.codes[evidence.known], minlength=size),
    )
    groups = [
        {"group": name, "rows": int(rows[place]), "labelled": int(labelled[place])}
        | {measure: _value(of_measure, place) for measure, of_measure in found.items()}
        for place, name in enumerate(of_column.names)
    ]
    judged = {"groups": groups, "gaps": {measure: _gap(of_measure) for measure, of_measure in found.items()}}
    if evidence.task.kind != "binary":
        return judged
    threshold, source = threshold_of(evidence)
    return {"threshold": threshold, "threshold_from": source} | judged


def _value(found: _Found, place: int) -> dict[str, Any]:
    value, count = float(found.values[place]), int(found.counts[place])
    if not count:
        return {"value": None, "interval": None, "rows": 0}
    spread = float(found.errors[:, place].std())
    if found.rate:
        # Rows of one unit say less than as many rows of their own: they count by the spread that they have.
        own = value * (1 - value) / spread**2 if spread else float(found.units[place])
        interval = wilson(value, min(float(count), own))
    else:
        interval = [value - NORMAL * spread, value + NORMAL * spread]
    return {"value": value, "interval": interval, "rows": count}


def wilson(share: float, count: float) -> list[float]:
    """Return the 95 % interval of a share seen in `count` rows.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> [round(end, 3) for end in wilson(0.0, 50)]
        [0.0, 0.071]
    """
    square = NORMAL**2 / count
    middle = (share + square / 2) / (1 + square)
    reach = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return [max(0.0, float(middle - reach)), min(1.0, float(middle + reach))]


def _gap(found: _Found) -> dict[str, Any]:
    enough = (found.counts >= FEWEST_ROWS) & (found.units >= FEWEST_UNITS)
    left_out = [name for name, counts in zip(found.names, enough, strict=True) if not counts]
    if enough.sum() < 2:
        return {"value": None, "interval": None, "highest": None, "lowest": None, "left_out": left_out}
    values = found.values[enough]
    names = [name for name, counts in zip(found.names, enough, strict=True) if counts]
    apart = values[:, None] - values
    reach = _reach(found, enough)
    low, high = max(0.0, float((apart - reach).max())), float((apart + reach).max())
    return {
        "value": float(apart.max()),
        "interval": [low, min(1.0, high) if found.rate else high],
        "highest": names[int(values.argmax())],
        "lowest": names[int(values.argmin())],
        "left_out": left_out,
    }


def _reach(found: _Found, enough: Array) -> Array:
    """Return how far the difference of each pair may be off so that all pairs hold at once, [groups, groups]."""
    errors = found.errors[:, enough]
    least = _least_spread(found.values[enough], found.counts[enough]) if found.rate else np.zeros(errors.shape[1])
    spread = np.zeros((errors.shape[1],) * 2)
    furthest = np.zeros(len(errors))
    for place in range(errors.shape[1]):
        of_pairs = errors[:, [place]] - errors
        spread[place] = np.maximum(of_pairs.std(axis=0), np.hypot(least[place], least))
        scaled = np.divide(np.abs(of_pairs), spread[place], out=np.zeros_like(of_pairs), where=spread[place] > 0)
        furthest = np.maximum(furthest, scaled.max(axis=1))
    reach: Array = max(NORMAL, float(np.quantile(furthest, CONFIDENCE))) * spread
    np.fill_diagonal(reach, 0.0)
    return reach


def _least_spread(shares: Array, counts: Array) -> Array:
    """Return the standard deviation of shares as if two hits and two misses more had been seen.

    A share of 0 or 1 never moves when its rows are drawn again, and is no more certain for that.

    Source:
        Agresti and Coull 1998, "Approximate is better than exact for interval estimation of binomial proportions".
    """
    total = counts + NORMAL**2
    share = (shares * counts + NORMAL**2 / 2) / total
    spread: Array = np.sqrt(share * (1 - share) / total)
    return spread
