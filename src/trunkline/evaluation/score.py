"""Scores of shared and alone, side by side, and what they say about sharing.

gain        shared minus alone in the primary metric's unit, turned so that + means sharing is better
composite   mean over tasks of the gain in percent of the alone score (delta_m, Maninis et al. 2019,
            arXiv:1904.08918), one primary metric per task
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trunkline.tasks import Task, TaskState

Scores = dict[str, float]


def score_task(task: Task, state: TaskState, labels: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any]) -> Scores:
    """Return every metric of a task over the rows that have a label.

    Args:
        task: The declared task.
        state: What was learned from its training labels.
        labels: float [rows], NaN = no label; numbers in the target's own unit.
        prediction: Probability [rows, 1 or classes] or value [rows, 1].
    """
    known = ~np.isnan(labels)
    return task.scores(labels[known], prediction[known], state)


def mean_scores(of_seeds: list[Scores]) -> Scores:
    """Return the mean of each metric over seeds."""
    return {metric: float(np.mean([scores[metric] for scores in of_seeds])) for metric in of_seeds[0]}


def transfer(task: Task, shared: Scores, alone: Scores, seeds: int) -> dict[str, Any]:
    """Say what sharing did to one task.

    Without an interval nothing can be claimed, so the verdict is "inconclusive" however large the gain.

    Args:
        task: The declared task.
        shared: Its scores in the shared model.
        alone: Its scores in the model trained for it alone.
        seeds: Trainings behind each side.
    """
    metric = task.primary_metric
    sign = 1.0 if task.metrics[metric].higher_is_better else -1.0
    gain = sign * (shared[metric] - alone[metric])
    percent = 100 * gain / abs(alone[metric]) if alone[metric] else math.nan
    return {
        "gain": gain,
        "interval": None,
        "gain_percent": percent,
        "p_adjusted": None,
        "verdict": "inconclusive",
        "seeds": seeds,
    }


def compose(tasks: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the composite over tasks: mean gain in percent, the worst task, counts of verdicts."""
    percents = [task["transfer"]["gain_percent"] for task in tasks.values()]
    gains = {name: task["transfer"]["gain_percent"] for name, task in tasks.items()}
    known = {name: gain for name, gain in gains.items() if not math.isnan(gain)}
    worst = min(known, key=lambda name: known[name]) if known else None
    verdicts = [task["transfer"]["verdict"] for task in tasks.values()]
    return {
        "delta_m_percent": float(np.mean(percents)),
        "interval": None,
        "worst_task": worst,
        "worst_gain": tasks[worst]["transfer"]["gain"] if worst else None,
        **{verdict: verdicts.count(verdict) for verdict in ("helped", "hurt", "equivalent", "inconclusive")},
    }
