"""Which tasks pull the shared layers the same way, which against each other, and how they might be grouped.

cosine      mean cosine of two tasks' gradients on the same rows, with its t against 0
ceiling     the same for one task on two half-batches: less than 1, because every batch is noisy
affinity    how far two tasks agree across half-batches, over the geometric mean of their ceilings: 1 = they agree
            like one task with itself, 0 = not at all. Where a ceiling is not above 0 for certain, their cosine
            stands in its place, which the noise in a batch moves towards 0, or towards 1 where labels share it

Seeds are independent and measurements of one training are not, so t rests on the spread of the seeds' means; not
below what the stretches of each training (batch means) let expect, because two or three seeds may lie close together
by luck. One seed has only its stretches.

A cosine below 0 in half of the measurements is what unrelated tasks show, and one task with itself shows it nearly as
often. It is no conflict. Affinity explains a verdict and does not replace one: a grouping must be confirmed by
training it.

source      correction for attenuation, Spearman 1904; batch means, Alexopoulos and Seila 1998.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trunkline.evaluation.wording import signed

Matrix = np.ndarray[Any, np.dtype[np.float64]]

CONFLICT_COSINE, CONFLICT_T = -0.1, -3.0  # both must be passed before two tasks are said to conflict
CEILING_T = 3.0  # from which on a ceiling is above 0 for certain
GROUP_FROM = 0.25  # affinity from which on two tasks are worth a common trunk
MOST_EXHAUSTIVE = 6  # tasks of which every grouping is looked at: 203 of six
SUGGESTED = 3
ADVICE = (
    "Affinity suggests, it does not decide: `trunkline groups --confirm` trains these groupings and compares them "
    "on validation rows."
)


class Grouping(NamedTuple):
    """Tasks that would share a model each.

    Attributes:
        groups: Names, in the order of the tasks.
        score: Sum over pairs within a group of their affinity minus `GROUP_FROM`, per task; 0 where all stand alone.
    """

    groups: list[list[str]]
    score: float


def analyse_affinity(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the section "affinity" of reports/analysis.json; None where nothing was measured.

    Args:
        record: Content of models/shared/affinity.json.

    Returns:
        Matrices [tasks, tasks] in the order of `tasks`, NaN = unknown: `cosine`, `t`, `affinity`, `conflict_rate`
        (on the diagonal of a task with itself) and `lookahead` (from row to column; None where not measured);
        `ceiling` and `norm` [tasks]; `conflicts`, `groupings` and sentences.
    """
    tasks, seeds = list(record["tasks"]), record["seeds"]
    count = _stacked(seeds, "count")
    if not count.any():
        return None
    cosine, t = pooled(_stacked(seeds, "cosine"), _stacked(seeds, "standard_error"))
    crossed, crossed_t = pooled(_stacked(seeds, "crossed"), _stacked(seeds, "crossed_error"))
    np.fill_diagonal(t, math.nan)  # a task agrees wholly with itself on the same rows; that is no finding
    steady = np.diag(crossed_t) >= CEILING_T
    affinity = disattenuated(crossed, cosine, steady)
    rate, _ = pooled(_stacked(seeds, "conflict_rate"))
    ahead, _ = pooled(_stacked(seeds, "lookahead"))
    conflicts = find_conflicts(tasks, cosine, t, rate)
    groupings = suggest_groupings(tasks, affinity)
    return {
        "tasks": tasks,
        "seeds": len(seeds),
        "measurements": int(count.max()),
        "every": record["every"],
        "cosine": cosine.tolist(),
        "t": t.tolist(),
        "ceiling": np.diag(crossed).tolist(),
        "affinity": affinity.tolist(),
        "conflict_rate": rate.tolist(),
        "norm": pooled(_stacked(seeds, "norm"))[0].tolist(),
        "lookahead": None if np.isnan(ahead).all() else ahead.tolist(),
        "conflicts": conflicts,
        "groupings": [grouping._asdict() for grouping in groupings],
        "says": [*_said(conflicts), *_unsteady(tasks, steady), ADVICE],
    }


def _stacked(seeds: Sequence[Mapping[str, Any]], name: str) -> Matrix:
    return np.array([seed[name] for seed in seeds], dtype=np.float64)


def pooled(means: Matrix, errors: Matrix | None = None) -> tuple[Matrix, Matrix]:
    """Return the mean over seeds, and its t against 0.

    Args:
        means: Of each seed [seeds, ...], NaN = not measured.
        errors: Their standard errors by batch means [seeds, ...]. Default: seeds alone decide.

    Example:
        >>> mean, t = pooled(np.array([[0.2], [0.3], [0.4]]))
        >>> round(float(mean[0]), 3), round(float(t[0]), 3)
        (0.3, 5.196)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = np.isfinite(means)
        seeds = measured.sum(axis=0)
        mean = np.where(measured, means, 0).sum(axis=0) / seeds
        between = np.where(measured, (means - mean) ** 2, 0).sum(axis=0) / ((seeds - 1) * seeds)
        within = np.where(measured, 0 if errors is None else errors**2, 0).sum(axis=0) / seeds**2
        return mean, mean / np.sqrt(np.fmax(between, within))


def disattenuated(crossed: Matrix, cosine: Matrix, steady: np.ndarray[Any, np.dtype[np.bool_]]) -> Matrix:
    """Return affinities [tasks, tasks], -1 to 1.

    Args:
        crossed: Mean cosine across half-batches [tasks, tasks]; on the diagonal the ceilings.
        cosine: Mean cosine on the same rows [tasks, tasks].
        steady: Whether a task's ceiling is above 0 for certain [tasks].
    """
    ceiling = np.where(steady, np.diag(crossed), math.nan)
    over = crossed / np.sqrt(np.outer(ceiling, ceiling))
    return np.clip(np.where(np.outer(steady, steady), over, cosine), -1, 1)


def find_conflicts(tasks: Sequence[str], cosine: Matrix, t: Matrix, rate: Matrix) -> list[dict[str, Any]]:
    """Return the pairs of tasks whose gradients oppose each other on average and beyond chance.

    Args:
        tasks: Names.
        cosine: Mean cosine [tasks, tasks].
        t: Its t against 0 [tasks, tasks].
        rate: Share of measurements below 0 [tasks, tasks], on the diagonal of a task with itself.
    """
    return [
        {
            "tasks": [tasks[i], tasks[j]],
            "cosine": float(cosine[i, j]),
            "t": float(t[i, j]),
            "conflict_rate": float(rate[i, j]),
            "same_task_rate": [float(rate[i, i]), float(rate[j, j])],
        }
        for i, j in itertools.combinations(range(len(tasks)), 2)
        if cosine[i, j] < CONFLICT_COSINE and t[i, j] < CONFLICT_T
    ]


def _said(conflicts: list[dict[str, Any]]) -> list[str]:
    if not conflicts:
        return ["No two tasks pull the shared layers against each other beyond chance."]
    return [
        f"'{one}' and '{other}' pull the shared layers against each other: mean cosine {signed(found['cosine'])}, "
        f"t {found['t']:.1f}, below 0 in {found['conflict_rate']:.0%} of the measurements (each task with itself: "
        f"{found['same_task_rate'][0]:.0%} and {found['same_task_rate'][1]:.0%})."
        for found in conflicts
        for one, other in [found["tasks"]]
    ]


def _unsteady(tasks: Sequence[str], steady: np.ndarray[Any, np.dtype[np.bool_]]) -> list[str]:
    lost = ", ".join(f"'{name}'" for name, certain in zip(tasks, steady, strict=True) if not certain)
    if not lost:
        return []
    return [
        f"Two halves of a batch do not agree for certain on where to go for {lost}, as where labels are few or hardly "
        f"to be foretold: their affinities are cosines on the same rows."
    ]


def suggest_groupings(tasks: Sequence[str], affinity: Matrix) -> list[Grouping]:
    """Return the groupings of the tasks that fit their affinities best, the best first; at most `SUGGESTED`.

    In each every task has, with its own group, a mean affinity of at least `GROUP_FROM`, or stands alone. Up to
    `MOST_EXHAUSTIVE` tasks all groupings are compared; more are merged greedily, the best two groups at a time.

    Args:
        tasks: Names.
        affinity: [tasks, tasks]; NaN counts as 0.
    """
    worth = np.nan_to_num(affinity, nan=0.0) - GROUP_FROM
    np.fill_diagonal(worth, 0.0)
    count = len(tasks)
    found = _partitions(count) if count <= MOST_EXHAUSTIVE else _merged(worth)
    fitting = [groups for groups in found if all(_fits(worth, group) for group in groups)]
    scored = [(sum(_within(worth, group) for group in groups) / count, groups) for groups in fitting]
    best = sorted(scored, key=lambda each: (-each[0], each[1]))[:SUGGESTED]
    return [Grouping([[tasks[place] for place in group] for group in groups], value) for value, groups in best]


def _within(worth: Matrix, group: list[int]) -> float:
    return float(worth[np.ix_(group, group)].sum() / 2)


def _fits(worth: Matrix, group: list[int]) -> bool:
    return bool((worth[np.ix_(group, group)].sum(axis=1) >= 0).all())


def _partitions(count: int) -> Iterator[list[list[int]]]:
    """Yield every way to put the places 0 to count - 1 into groups."""
    if count == 0:
        yield []
        return
    for groups in _partitions(count - 1):
        yield [*groups, [count - 1]]
        for place in range(len(groups)):
            yield [[*group, count - 1] if at == place else group for at, group in enumerate(groups)]


def _merged(worth: Matrix) -> Iterator[list[list[int]]]:
    """Yield groupings from all apart to all together, each with the two groups merged that gain most by it."""
    groups = [[place] for place in range(len(worth))]
    yield groups
    while len(groups) > 1:
        gains = {
            pair: float(worth[np.ix_(groups[pair[0]], groups[pair[1]])].sum())
            for pair in itertools.combinations(range(len(groups)), 2)
        }
        one, other = max(gains, key=lambda pair: gains[pair])
        joined = sorted([*groups[one], *groups[other]])
        groups = sorted([*(group for at, group in enumerate(groups) if at not in (one, other)), joined])
        yield groups


def grouping_words(groups: Sequence[Sequence[str]]) -> str:
    """Return a grouping in a line.

    Example:
        >>> grouping_words([["a", "b"], ["c"]])
        'a + b | c'
    """
    return " | ".join(" + ".join(group) for group in groups)
