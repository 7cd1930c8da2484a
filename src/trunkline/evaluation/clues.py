"""What may explain a verdict: figures of one task's gradients, training and labels, each None where it is unknown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trunkline.evaluation.curves import read_curve
from trunkline.evaluation.wording import known

FEW_LABELS = 0.1  # of what the task with most labels has, below which a task has few
ALLY_COSINE = 0.1  # mean cosine from which on two tasks' gradients are called alike
SMALLEST_GAP = 0.001  # difference of two training losses, in losses of a constant prediction, that is worth a word
CERTAIN = 2.0  # standard errors over seeds that such a difference must pass


class Other(NamedTuple):
    """Another task and a figure that joins both."""

    name: str
    figure: float


class Opponent(NamedTuple):
    """A task whose gradients oppose those of the one looked at, on average and beyond chance."""

    name: str
    cosine: float
    t: float


class TrainLoss(NamedTuple):
    """Loss on the training rows in the last epoch, mean over seeds, in losses of a constant prediction.

    Attributes:
        shared: Of the shared model.
        alone: Of the model for this task alone.
        gap: shared minus alone; 0 where the seeds do not tell it from none.
    """

    shared: float
    alone: float
    gap: float


def louder(affinity: Mapping[str, Any] | None, name: str) -> Other | None:
    """Return the task with the longest gradient, and how many times longer than that of `name` it is.

    Args:
        affinity: Section "affinity" of reports/analysis.json; None where nothing was measured.
        name: A task.
    """
    norms = dict(zip(affinity["tasks"], affinity["norm"], strict=True)) if affinity else {}
    lengths = {task: norm for task, norm in norms.items() if known(norm)}
    if not lengths.get(name):
        return None
    loudest = max(lengths, key=lambda task: lengths[task])
    return Other(loudest, float(lengths[loudest] / lengths[name]))


def opponent(affinity: Mapping[str, Any] | None, name: str) -> Opponent | None:
    """Return the task that conflicts most with `name`. A cosine below 0 half of the time is no conflict.

    Args:
        affinity: Section "affinity" of reports/analysis.json; its `conflicts` are those beyond chance.
        name: A task.
    """
    pairs = [pair for pair in affinity["conflicts"] if name in pair["tasks"]] if affinity else []
    if not pairs:
        return None
    worst = min(pairs, key=lambda pair: float(pair["cosine"]))
    (other,) = [task for task in worst["tasks"] if task != name]
    return Opponent(other, float(worst["cosine"]), float(worst["t"]))


def ally(affinity: Mapping[str, Any] | None, name: str) -> Other | None:
    """Return the task whose gradients agree most with those of `name`, where any agree.

    Args:
        affinity: Section "affinity" of reports/analysis.json; None where nothing was measured.
        name: A task.
    """
    if not affinity:
        return None
    tasks = list(affinity["tasks"])
    row = dict(zip(tasks, affinity["cosine"][tasks.index(name)], strict=True))
    alike = {task: float(cosine) for task, cosine in row.items() if task != name and known(cosine)}
    best = max(alike, key=lambda task: alike[task], default=None)
    return Other(best, alike[best]) if best is not None and alike[best] > ALLY_COSINE else None


def train_loss(history: Mapping[str, str], name: str) -> TrainLoss | None:
    """Return how well both sides fit the training rows of a task.

    Args:
        history: Text of history.tsv of the shared arm, under "shared", and of each task's own arm, under its name.
        name: A task.
    """
    shared, alone = (_last(history[arm], f"train.{name}") for arm in ("shared", name))
    pairs = [(shared[seed], alone[seed]) for seed in shared if seed in alone]
    if len(pairs) < 2:
        return None
    gaps = [mine - own for mine, own in pairs]
    gap, doubt = statistics.fmean(gaps), CERTAIN * statistics.stdev(gaps) / math.sqrt(len(gaps))
    of_shared, of_alone = (statistics.fmean(side) for side in zip(*pairs, strict=True))
    return TrainLoss(of_shared, of_alone, gap if abs(gap) > max(doubt, SMALLEST_GAP) else 0.0)


def validation_losses(history: Mapping[str, str], names: Sequence[str]) -> dict[str, float]:
    """Return each task's loss on the validation rows by itself after the last epoch, mean over seeds.

    Args:
        history: Text of history.tsv of each task's own arm, under its name.
        names: Tasks; those without one are left out.
    """
    found = {name: list(_last(history[name], f"validation.{name}").values()) for name in names}
    return {name: statistics.fmean(losses) for name, losses in found.items() if losses}


def say(training: Mapping[str, Any], name: str, weights: Mapping[str, float]) -> float | None:
    """Return a task's share of all weights late in the training, over the share that was declared for it.

    Args:
        training: Section "training" of reports/analysis.json.
        name: A task.
        weights: tasks.<task>.weight.
    """
    seen = (training.get("tasks") or {}).get(name)
    if not seen or not known(seen["late"]["share"]):
        return None
    return float(seen["late"]["share"]) * math.fsum(weights.values()) / weights[name]


def idle_gate(training: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return a gate of the task that gives one expert nearly everything in more than half of the trainings.

    Args:
        training: Section "training" of reports/analysis.json.
        name: A task.
    """
    gates: Sequence[Mapping[str, Any]] = (training.get("gates") or {}).get(name) or []
    return next((gate for gate in gates if 2 * gate["collapsed"] > gate["seeds"]), None)


def alarm(training: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any] | None:
    """Return the alarm of a kind that was raised for the task.

    Args:
        training: Section "training" of reports/analysis.json.
        kind: Of the alarm.
        name: A task.
    """
    alarms: Sequence[Mapping[str, Any]] = training.get("alarms") or []
    return next((held for held in alarms if (held["kind"], held["task"]) == (kind, name)), None)


def _last(history: str, column: str) -> dict[int, float]:
    """Return the value of a column after each seed's last epoch."""
    return {point.seed: point.value for point in read_curve(history, column)}


def labels(task: Mapping[str, Any]) -> int:
    """Return the training rows that teach a task: those of the rarer class where it says yes or no.

    Example:
        >>> labels({"kind": "binary", "labelled": {"train": 1000}, "prevalence": 0.03})
        30
        >>> labels({"kind": "regression", "labelled": {"train": 1000}})
        1000
    """
    rows = int(task["labelled"]["train"])
    yes = task.get("prevalence")
    return round(rows * min(yes, 1 - yes)) if isinstance(yes, float) else rows


def training_rows(tasks: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many rows a training passes over, at least: those with a label of the task that has most.

    Args:
        tasks: `tasks` of reports/evaluation.json.
    """
    return max(int(task["labelled"]["train"]) for task in tasks.values())


def few_labels(tasks: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Return True where a task has few labels beside the task that has most.

    Args:
        tasks: `tasks` of reports/evaluation.json.
        name: A task.
    """
    return labels(tasks[name]) < FEW_LABELS * max(labels(task) for task in tasks.values())
