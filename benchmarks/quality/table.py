"""The contenders side by side, and whether the goals are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.quality.contest import Contender
from trunkline.tasks import Task


class Change(NamedTuple):
    """How much better than another on average over the tasks: mean over seeds, and its spread."""

    mean: float
    sd: float

    def __str__(self) -> str:
        """As the tables have it."""
        return f"{self.mean:+.2f} ± {self.sd:.2f}"


def delta_m(one: Contender, other: Contender, tasks: Mapping[str, Task], side: str) -> Change:
    """Return how much better one contender is than the mean of another, in percent of the other's scores.

    Source:
        Maninis et al. 2019, arXiv:1904.08918, on the tasks' primary metrics.
    """
    return _change(one, other, tasks, side, {name: abs(other.scores[side][name].mean()) for name in tasks})


def points(one: Contender, other: Contender, constant: Contender, tasks: Mapping[str, Task], side: str) -> Change:
    """Return the same in percent of the way from a constant prediction to a perfect one.

    What recipes are chosen by: a score near 0, such as R2 of a calm month, makes percents of it meaningless.
    """
    way = {
        name: abs(task.metrics[task.primary_metric].perfect - constant.scores[side][name].mean())
        for name, task in tasks.items()
    }
    return _change(one, other, tasks, side, way)


def _change(
    one: Contender, other: Contender, tasks: Mapping[str, Task], side: str, unit: Mapping[str, float]
) -> Change:
    signs = {name: 1 if task.metrics[task.primary_metric].higher_is_better else -1 for name, task in tasks.items()}
    gains = [
        100 * signs[name] * (one.scores[side][name] - other.scores[side][name].mean()) / unit[name] for name in tasks
    ]
    of_seeds = np.mean(gains, axis=0)
    return Change(float(of_seeds.mean()), float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else float("nan"))


HEADS = ("recipe", "validation: points", "test: points", "test: delta_m", "test: delta_m vs LightGBM")


def rows_of(contenders: Sequence[Contender], tasks: Mapping[str, Task]) -> list[list[str]]:
    """Return a row per contender; HEADS name its cells up to the tasks'. Changes are against the first alone models."""
    constant, trees, plain = contenders[:3]
    rows = []
    for each in contenders[1:]:
        changes = [points(each, plain, constant, tasks, side) for side in ("validation", "test")]
        changes += [delta_m(each, other, tasks, "test") for other in (plain, trees)]
        scores = [f"{each.scores['test'][name].mean():.4f}" for name in tasks]
        rows.append([each.name, *map(str, changes), *scores, f"{each.cpu:.0f}"])
    return rows


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table as docs/log.md has it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
