"""The model in service and another one on the same test rows of today: what each task gains, with an interval.

gain        new minus in service in the primary metric's unit, turned so that + means the new model is better
interval    95 %, from the bootstrap over test rows, the same drawn rows for both models (they are pairs)
limit       what the task may lose, on the unfavourable end; `promotion.max_regret`, else its margin

Both are files, so chance in training does not enter: the question is which of the two serves better, not which recipe.
Rows that only one of them was trained on favour it. A split by time, or by the hash of a row's key, keeps today's test
rows out of both; after a change of the split the model in service may know some of them and is harder to beat.

What cannot be compared is not promoted: the test rows lack a column that the model in service reads, or it predicts a
task that the new one does not, or as another kind. A task that only the new one predicts is shown and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.errors import DataError, ParamsError
from trunkline.evaluation.bootstrap import Spread, draw_rows, enough_units
from trunkline.evaluation.evidence import Array
from trunkline.evaluation.verdict import MARGIN
from trunkline.registry.scoring import in_order, kinds, main_outputs, read_truth, score_rows
from trunkline.registry.store import CANDIDATE, CHAMPION, Registry
from trunkline.registry.wanted import Wanted
from trunkline.tasks import Task, TaskState
from trunkline.tasks.metrics import Panel

if TYPE_CHECKING:
    from trunkline.serving.session import Model

SPLIT = Path("data/split")
RULE = "max_regret_in_service"


@dataclass(frozen=True)
class Compared:
    """One task under both models. Scores and gain are None where the metric does not exist on the test rows."""

    task: str
    metric: str
    champion: float | None
    candidate: float | None
    gain: float | None
    interval: list[float] | None
    limit: float | None
    decides: bool

    @property
    def passed(self) -> bool:
        """Whether the task is shown to lose no more than it may."""
        return self.interval is not None and self.limit is not None and -self.interval[0] <= self.limit

    def as_gate(self) -> dict[str, Any]:
        """Return it as a gate, in the words of evaluation.json."""
        value = None if self.gain is None else -self.gain
        bound = None if self.interval is None else -self.interval[0]
        return {
            "task": self.task,
            "rule": RULE,
            "limit": self.limit,
            "value": value,
            "bound": bound,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same test rows.

    Attributes:
        champion: The version in service.
        candidate: The version that may take over.
        rows: Test rows.
        tasks: The tasks that both predict.
        new: Tasks that only the candidate predicts.
        problem: Why the two cannot be held against each other, None where they can.
    """

    champion: int
    candidate: int
    rows: int
    tasks: list[Compared]
    new: list[str]
    problem: str | None

    @property
    def gates(self) -> list[dict[str, Any]]:
        """The tasks that decide, as gates."""
        return [each.as_gate() for each in self.tasks if each.decides]


def compare_in_service(root: Path, project: Wanted, candidate: int | None = None) -> Comparison:
    """Score the model in service and another version on the test rows of data/split/.

    Args:
        root: The project's folder.
        project: What is declared.
        candidate: The other version. Default: the registry's candidate.

    Raises:
        ParamsError: Nothing is in service, or there is no such version.
        ArtifactError: A model or data/split is missing or altered.
    """
    from trunkline.serving.session import open_model

    registry = Registry(root, project.export.name)
    aliases = registry.aliases()
    if CHAMPION not in aliases:
        raise ParamsError(f"'{registry.name}': no version is in service yet; `trunkline promote` puts one there")
    pair = aliases[CHAMPION], registry.known(candidate or aliases.get(CANDIDATE, aliases[CHAMPION]))
    for version in pair:
        registry.check(version)
    old, new = (open_model(registry.path(version) / "model.onnx", threads=project.threads) for version in pair)
    known, offered = kinds(old), kinds(new)
    added = [task for task in offered if task not in known]
    if problem := next(_obstacles(known, offered, project, pair[0]), None):
        return Comparison(*pair, 0, [], added, problem)
    try:
        rows, tasks = _compare(root / SPLIT, project, (old, new), [task for task in offered if task in known])
    except DataError as fault:
        return Comparison(*pair, 0, [], added, str(fault))
    return Comparison(*pair, rows, tasks, added, None)


def _obstacles(known: dict[str, str], offered: dict[str, str], project: Wanted, champion: int) -> Iterator[str]:
    for task, kind in known.items():
        if task not in offered:
            yield f"version {champion} predicts task '{task}', which the new model does not"
        elif offered[task] != kind:
            yield f"version {champion} predicts task '{task}' as {kind}, the new model as {offered[task]}"
        elif task not in project.tasks or project.tasks[task].kind != kind:
            yield f"{task}: params.yaml declares no {kind} task of that name, so today's labels of it are not known"


def _compare(split: Path, project: Wanted, pair: tuple[Model, Model], names: list[str]) -> tuple[int, list[Compared]]:
    from trunkline.evaluation.rows import read_test_rows

    predicted, truth = score_rows(pair, split, names), read_truth(split, project.tasks, names)
    units = read_test_rows(split, project.split, []).units
    found = []
    for name in names:
        state, labels = truth[name]
        both = [_columns(model, name, of_model[name], state) for model, of_model in zip(pair, predicted, strict=True)]
        found.append(_task(name, project, state, labels, both, units))
    return len(units), found


def _columns(model: Model, task: str, prediction: Array, state: TaskState) -> Array:
    classes = main_outputs(model)[task].classes
    return in_order(prediction, classes, state["classes"]) if classes and "classes" in state else prediction


def _task(name: str, project: Wanted, state: TaskState, labels: Array, both: list[Array], units: Array) -> Compared:
    task, metric, promotion = project.tasks[name], project.tasks[name].primary_metric, project.promotion
    decides = name in promotion.tasks or not promotion.tasks
    known = ~np.isnan(labels)
    if not known.any():
        return Compared(name, metric, None, None, None, None, None, decides)
    truth = labels[known]
    constant = np.repeat(task.constant(state), len(truth), axis=0)
    old, new, naive = (
        task.scores(truth, prediction, state)[metric] for prediction in (*(each[known] for each in both), constant)
    )
    margin = project.evaluation.margins.get(name, MARGIN * abs(task.metrics[metric].perfect - naive))
    sign = 1.0 if task.metrics[metric].higher_is_better else -1.0
    return Compared(
        task=name,
        metric=metric,
        champion=_known(old),
        candidate=_known(new),
        gain=_known(sign * (new - old)),
        interval=_interval(task, metric, state, labels, both, units, project) if enough_units(units[known]) else None,
        limit=_known(promotion.max_regret.get(name, margin)),
        decides=decides,
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(
    task: Task, metric: str, state: TaskState, labels: Array, both: list[Array], units: Array, project: Wanted
) -> list[float] | None:
    """Return both ends of the 95 % interval of the gain over drawn rows."""
    from threadpoolctl import threadpool_limits

    known = ~np.isnan(labels)
    panel = Panel([task.resampled(labels[known], prediction[known], state)[metric] for prediction in both])
    gains = []
    with threadpool_limits(1, user_api="blas"):
        for counts in draw_rows(units, project.evaluation.draws, project.seed):
            old, new = panel(np.ascontiguousarray(counts[:, known]))
            gains.append(new - old if task.metrics[metric].higher_is_better else old - new)
    drawn = np.concatenate(gains)
    return Spread(drawn, drawn, 1).interval()
