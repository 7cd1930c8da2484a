"""Whether tasks do better in groups than all together, seed by seed, each group trained by the declared recipe.

A group is an arm like the shared one, of fewer tasks. It is compared with the shared model and with the models alone
on validation rows: those that calibrate, which chose no epoch. The test rows are not read, so that they can still
judge what is chosen here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.data.encode import Encoded
from trunkline.errors import ArtifactError
from trunkline.evaluation.affinity import grouping_words
from trunkline.evaluation.score import score_task
from trunkline.evaluation.wording import percent
from trunkline.files import check_seal
from trunkline.tasks import Task
from trunkline.training.arm import halves, load_arm
from trunkline.training.judge import predictions

LEVEL = 0.95  # of an interval

Group = tuple[str, ...]
Grouping = Sequence[Group]
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def is_trained(folder: Path) -> bool:
    """Whether a trained arm lies in `folder`, whole and as it was written."""
    try:
        check_seal(folder)
    except ArtifactError:
        return False
    return True


def compare_groupings(
    tasks: Mapping[str, Task],
    encoded: Encoded,
    folders: Mapping[Group, Path],
    groupings: Sequence[Grouping],
    seed: int,
) -> dict[str, Any]:
    """Return what each grouping does to every task, against one model for all and against one model each.

    Args:
        tasks: The declared tasks.
        encoded: The encoded rows.
        folders: The trained arm of every group that occurs, of all tasks together and of each task alone.
        groupings: Each a partition of the tasks.
        seed: The project's seed, which decides the validation rows that calibrate.

    Returns:
        `rows`, `seeds`, and per grouping its groups, each task's mean scores and gains (see `paired`) and `composite`:
        the mean gain over tasks on the one model for all, in percent of the scores alone.

    Raises:
        ArtifactError: The arms have different numbers of seeds, or a file was altered.
    """
    rows = encoded.side("validation")
    places = halves(len(rows.features), seed)[1]
    labels = {name: np.asarray(rows.labels[name])[places] for name in tasks}
    scores: dict[tuple[Group, str], Matrix] = {}
    for group, folder in folders.items():
        of_seeds = predictions(load_arm(folder, encoded.encoder), rows)
        for name in group:
            found = [
                score_task(tasks[name], encoded.states[name], labels[name], seen[name][places]) for seen in of_seeds
            ]
            scores[group, name] = np.array([of_seed[tasks[name].primary_metric] for of_seed in found])
    together = tuple(tasks)
    seeds = {len(values) for values in scores.values()}
    if len(seeds) > 1:
        raise ArtifactError("models/: holds arms of different numbers of seeds; run `trunkline run`, then this again")
    return {
        "rows": len(places),
        "seeds": seeds.pop(),
        "groupings": [_compared(tasks, groups, scores, together) for groups in groupings],
    }


def _compared(
    tasks: Mapping[str, Task], groups: Grouping, scores: Mapping[tuple[Group, str], Matrix], together: Group
) -> dict[str, Any]:
    judged, percents = {}, []
    for group in groups:
        for name in group:
            metric = tasks[name].primary_metric
            sign = 1.0 if tasks[name].metrics[metric].higher_is_better else -1.0
            grouped, alone, all_tasks = (scores[arm, name] for arm in (group, (name,), together))
            judged[name] = {
                "metric": metric,
                "alone": float(alone.mean()),
                "together": float(all_tasks.mean()),
                "grouped": float(grouped.mean()),
                "on_together": paired(sign * (grouped - all_tasks)),
                "on_alone": paired(sign * (grouped - alone)),
            }
            if alone.mean():
                percents.append(100 * sign * (grouped - all_tasks) / abs(alone.mean()))
    ordered = {name: judged[name] for name in tasks}
    return {"groups": [list(group) for group in groups], "tasks": ordered, "composite": paired(np.mean(percents, 0))}


def paired(gains: Matrix, level: float = LEVEL) -> dict[str, Any]:
    """Return the mean of gains of paired seeds, its interval, t and p; None where one seed cannot tell.

    Args:
        gains: One per seed.
        level: Of the interval.

    Source:
        Student's t on the differences of pairs.

    Example:
        >>> found = paired(np.array([0.01, 0.02, 0.03]))
        >>> [round(end, 4) for end in found["interval"]], round(found["t"], 3), round(found["p"], 3)
        ([-0.0048, 0.0448], 3.464, 0.074)
    """
    from scipy import stats

    mean, seeds = float(np.mean(gains)), len(gains)
    error = float(np.std(gains, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
    if seeds < 2:
        return {"mean": mean, "interval": None, "t": None, "p": None, "gains": gains.tolist()}
    reach = float(stats.t.ppf(0.5 + level / 2, seeds - 1)) * error
    t = mean / error if error else math.nan
    p = 2 * float(stats.t.sf(abs(t), seeds - 1))
    return {"mean": mean, "interval": [mean - reach, mean + reach], "t": t, "p": p, "gains": gains.tolist()}


def recommend(found: Mapping[str, Any]) -> str:
    """Say whether to train the tasks in groups.

    The interval behind it is widened for the number of groupings that were tried.

    Args:
        found: What `compare_groupings` returned.
    """
    basis = f"Judged on {found['rows']:,} validation rows; the test rows were not read."
    tried = [grouping for grouping in found["groupings"] if len(grouping["groups"]) > 1]
    if not tried:
        return f"Keep one model for all tasks: their affinities suggest no other grouping. {basis}"
    if found["seeds"] < 2:
        return f"One training per arm cannot be told from chance: set training.seeds to 5 and run again. {basis}"
    best = max(tried, key=lambda grouping: float(grouping["composite"]["mean"]))
    sure = paired(np.array(best["composite"]["gains"]), 1 - (1 - LEVEL) / len(tried))
    low, high = sure["interval"]
    figures = f"{percent(sure['mean'])} on average over the tasks, {percent(low)} to {percent(high)}"
    words = grouping_words(best["groups"])
    if low > 0:
        return f"Train {words} apart: better than one model for all ({figures}). {basis}"
    return f"Keep one model for all tasks: no grouping is better beyond chance; best {words} ({figures}). {basis}"
