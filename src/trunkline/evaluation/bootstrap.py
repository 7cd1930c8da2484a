"""How far a figure would move with other test rows and other trainings: the hierarchical bootstrap.

A draw takes trainings with replacement, the same for both arms because they are pairs, and then units of test rows
with replacement, the same for all tasks, so that a figure over several tasks has an interval too. Metrics are
computed exactly on the drawn rows (tasks/metrics.py). Draws come from named streams of the project's seed and are the
same however many are computed at once.

source  Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8 (two levels)
        Hesterberg 2015, What Teachers Should Know About the Bootstrap, section 5.2 (narrowness bias)
Differs: drawing five trainings out of five shows less than their real variance and gives ends that are too near, as
        every percentile interval of few values does. The part of a draw's deviation that comes from the trainings is
        therefore stretched by sqrt(n / (n - 1)) and by the ratio of Student's to the normal quantile, which makes the
        interval of a figure without row noise about that of the t test. What a training does on some rows and another
        does not is counted with the rows and with the trainings (Owen 2007, The pigeonhole bootstrap): with few rows
        intervals are too wide rather than too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trunkline.chance import numpy_stream
from trunkline.evaluation.evidence import Array, Evidence
from trunkline.tasks.metrics import Panel, Resampled

LEVEL = 0.95
DESCRIPTIVE_DRAWS = 400  # for metrics that decide nothing
FEWEST_UNITS = 10  # behind the labelled rows; fewer drawn again say nothing of the world
MOST_LOST = 0.05  # share of draws without the metric up to which the others make an interval
CELLS = 4_000_000  # counts held at once: draws x rows


def draw_seeds(seeds: int, draws: int, seed: int) -> Array:
    """Return the weight of each training in each draw, float64 [draws, seeds]; the weights of a draw add up to 1.

    Args:
        seeds: Trainings of an arm.
        draws: How many draws.
        seed: The project's seed.
    """
    drawn = numpy_stream(seed, "bootstrap", "seeds").integers(0, seeds, size=(draws, seeds))
    return np.stack([np.bincount(places, minlength=seeds) for places in drawn]) / seeds


def draw_rows(units: Array, draws: int, seed: int, block: int | None = None) -> Iterator[Array]:
    """Yield blocks of draws: how often each row was drawn, uint8 [draws of the block, rows].

    Args:
        units: Rows with equal numbers are drawn together, int [rows].
        draws: How many draws in all.
        seed: The project's seed.
        block: Draws at once; by default as many as fit in bounded memory. They are the same for every value.
    """
    names, unit_of_row = np.unique(units, return_inverse=True)
    stream, count = numpy_stream(seed, "bootstrap", "rows"), len(names)
    block = block or max(1, min(64, CELLS // max(len(units), 1)))
    for first in range(0, draws, block):
        # No unit is drawn more than 255 times: with more units than that it is rarer than any other fault.
        counts = np.empty((min(block, draws - first), count), dtype=np.uint8)
        for drawn in counts:
            drawn[:] = np.bincount(stream.integers(0, count, size=count), minlength=count)
        yield counts if count == len(units) else counts[:, unit_of_row]


@dataclass(frozen=True)
class Spread:
    """What a figure comes to in each draw; NaN where it does not exist.

    Attributes:
        rows: On the drawn rows with every training counting the same, float64 [draws].
        drawn: On the drawn rows with the drawn trainings, float64 [draws].
        seeds: Trainings of an arm.
    """

    rows: Array
    drawn: Array
    seeds: int

    @property
    def kept(self) -> Array:
        """True for the draws in which the figure exists, bool [draws]."""
        return np.asarray(np.isfinite(self.rows) & np.isfinite(self.drawn))

    @property
    def lost(self) -> int:
        """Draws in which the figure does not exist, such as an AUC of rows of one class."""
        return int(np.count_nonzero(~self.kept))

    @property
    def enough(self) -> bool:
        """Whether so few draws are lost that the others stand for all."""
        return self.lost <= MOST_LOST * len(self.rows)

    def interval(self, level: float = LEVEL) -> list[float] | None:
        """Return both ends of the interval, or None where too many draws are lost.

        Args:
            level: Share of the draws within, half of the rest on either side.
        """
        if not self.enough:
            return None
        rows, drawn = self.rows[self.kept], self.drawn[self.kept]
        ends = np.quantile(rows + _stretch(self.seeds, level) * (drawn - rows), [(1 - level) / 2, (1 + level) / 2])
        return [float(end) for end in ends]

    def interval_around(self, value: float) -> list[float] | None:
        """Return the interval of a score, moved by what drawing rows again adds to the score on average.

        Repeated rows alone make a calibration error larger, so that its plain interval can lie wholly above it.

        Args:
            value: The score on the rows as they are.
        """
        ends = self.interval()
        if ends is None:
            return None
        added = float(self.rows[self.kept].mean()) - value
        return [end - added for end in ends]

    def row_deviation(self) -> float:
        """Return the standard deviation that comes from the rows alone, which no further training removes."""
        kept = self.rows[self.kept]
        return float(kept.std(ddof=1)) if self.enough and len(kept) > 1 else math.nan


def _stretch(seeds: int, level: float) -> float:
    from scipy import stats

    if seeds < 2:
        return 1.0
    ends = (1 + level) / 2
    return float(math.sqrt(seeds / (seeds - 1)) * stats.t.ppf(ends, seeds - 1) / stats.norm.ppf(ends))


@dataclass(frozen=True)
class Replicates:
    """One task's metrics on the drawn rows.

    The primary metric, and every metric of the exported model, have all draws; what decides nothing (the other
    metrics of the other models, the constant prediction) has the first 400.

    Attributes:
        weights: Weight of each training in each draw, float64 [draws, seeds].
        shared: By metric, float64 [draws, seeds].
        alone: The same for the models trained for this task alone.
        exported: By metric, of the exported model, float64 [draws].
        constant: `skill_metric` of the constant prediction, float64 [draws].
    """

    weights: Array
    shared: dict[str, Array]
    alone: dict[str, Array]
    exported: dict[str, Array]
    constant: Array

    def over_seeds(self, values: Array) -> Spread:
        """Return the spread of the mean over trainings of a figure, float64 [draws, seeds]."""
        return Spread(values.mean(axis=1), (values * self.weights[: len(values)]).sum(axis=1), values.shape[1])

    def of_exported(self, metric: str) -> Spread:
        """Return the spread of a metric of the exported model, over rows alone: it is one training."""
        return Spread(self.exported[metric], self.exported[metric], 1)


def replicate(evidence: Evidence, units: Array, draws: int, seed: int) -> Replicates:
    """Compute one task's metrics on every draw; in bounded memory, on one core, so that the bytes are the same.

    Args:
        evidence: The task on the test rows; at least one has a label.
        units: Rows with equal numbers are drawn together, int [rows].
        draws: How many draws.
        seed: The project's seed.
    """
    from threadpoolctl import threadpool_limits

    always, described = _panels(evidence)
    known, decides, more = evidence.known, list[Array](), list[Array]()
    with threadpool_limits(1, user_api="blas"):
        for counts in draw_rows(units, draws, seed):
            of_task = np.ascontiguousarray(counts[:, known])
            decides.append(always(of_task))
            if wanted := max(0, DESCRIPTIVE_DRAWS - sum(found.shape[1] for found in more)):
                more.append(described(of_task[:wanted]))
    # With too few units no draw counts, so that no figure has an interval.
    weight = 1.0 if enough_units(units[known]) else math.nan
    return _named(evidence, np.concatenate(decides, axis=1) * weight, np.concatenate(more, axis=1) * weight, seed)


def enough_units(units: Array) -> bool:
    """Return whether so many units stand behind some rows, int [rows], that drawing them again tells their chance."""
    return len(np.unique(units)) >= FEWEST_UNITS


def _panels(evidence: Evidence) -> tuple[Panel, Panel]:
    """Return what all draws compute and what the first compute, each in the order in which `_named` reads it."""
    task, state, known = evidence.task, evidence.state, evidence.known
    truth, primary, others = evidence.labels[known], task.primary_metric, _others(evidence)

    def prepared(prediction: Array) -> dict[str, Resampled]:
        return task.resampled(truth, prediction, state)

    models = [prepared(prediction[known]) for prediction in (*evidence.shared, *evidence.alone)]
    constant = prepared(np.repeat(task.constant(state), len(truth), axis=0))[task.skill_metric]
    exported = [models[evidence.exported][metric] for metric in others]
    decides = [model[primary] for model in models] + exported
    return Panel(decides), Panel([model[metric] for metric in others for model in models] + [constant])


def _others(evidence: Evidence) -> list[str]:
    return [metric for metric in evidence.task.metrics if metric != evidence.task.primary_metric]


def _named(evidence: Evidence, decides: Array, more: Array, seed: int) -> Replicates:
    """Name the lines [metrics of models, draws] that the two panels gave."""
    seeds, primary, others = evidence.seeds, evidence.task.primary_metric, _others(evidence)
    lines = {primary: decides[: 2 * seeds].T}
    lines |= {metric: more[2 * seeds * at : 2 * seeds * (at + 1)].T for at, metric in enumerate(others)}
    exported = {primary: decides[evidence.exported]}
    exported |= {metric: decides[2 * seeds + at] for at, metric in enumerate(others)}
    return Replicates(
        weights=draw_seeds(seeds, decides.shape[1], seed),
        shared={metric: values[:, :seeds] for metric, values in lines.items()},
        alone={metric: values[:, seeds:] for metric, values in lines.items()},
        exported=exported,
        constant=more[-1],
    )


def together(spreads: Sequence[Spread], combine: Callable[..., Array]) -> Spread:
    """Return the spread of what several figures come to together, draw by draw.

    Args:
        spreads: The figures' spreads, of the same draws.
        combine: Such as np.mean or np.min, over axis 0.
    """
    rows = combine(np.stack([spread.rows for spread in spreads]), axis=0)
    drawn = combine(np.stack([spread.drawn for spread in spreads]), axis=0)
    return Spread(rows, drawn, spreads[0].seeds)
