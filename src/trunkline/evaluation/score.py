"""Scores of shared and alone on the test rows, side by side, and what they say about sharing.

gain      shared minus alone in the primary metric's unit, turned so that + means sharing is better
skill     share of the constant prediction's loss that a model removes, on the test rows: 0 = none, 1 = perfect
margin    gain that matters: as declared, else 0.5 % of the way from the constant prediction's score to a perfect one
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trunkline.evaluation.bootstrap import Replicates, Spread, replicate
from trunkline.evaluation.composite import Part, compose
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.evidence import Array, Evidence, TestRows
from trunkline.evaluation.gates import judge_gates
from trunkline.evaluation.verdict import MARGIN, Gain, holm, paired_p, transfer
from trunkline.tasks import Task, TaskState

Scores = dict[str, float]
Interval = list[float] | None

TEST_READS = {"selection": 0, "evaluate": 1, "export": 1}
"""How often each purpose of a run has the test rows scored.

Never to choose anything: learning rate, epoch, seed and calibration are chosen on validation rows. Once by `evaluate`
for the report, and once more by `export` with the finished file, which must score the same. What people choose after
they read the report is not known to it.
"""


def score_task(task: Task, state: TaskState, labels: Array, prediction: Array) -> Scores:
    """Return every metric of a task over the rows that have a label; NaN where none has.

    Args:
        task: The declared task.
        state: What was learned from its training labels.
        labels: float [rows], NaN = no label; numbers in the target's own unit.
        prediction: Probability [rows, 1 or classes] or value [rows, 1].
    """
    known = ~np.isnan(labels)
    if not known.any():
        return dict.fromkeys(task.metrics, math.nan)
    return task.scores(labels[known], prediction[known], state)


def mean_scores(of_seeds: Sequence[Scores]) -> Scores:
    """Return the mean of each metric over seeds."""
    return {metric: float(np.mean([scores[metric] for scores in of_seeds])) for metric in of_seeds[0]}


@dataclass(frozen=True)
class Measured:
    """One task's scores on the test rows, and on rows drawn again.

    Attributes:
        evidence: What they were computed from.
        shared: Every metric of the shared model, by training.
        alone: The same of the models trained for this task alone.
        constant: Every metric of the constant prediction.
        replicates: Metrics on the drawn rows; None where no row has a label.
        margin: Gain that matters, in the primary metric's unit; NaN where the metric does not exist.
    """

    evidence: Evidence
    shared: list[Scores]
    alone: list[Scores]
    constant: Scores
    replicates: Replicates | None
    margin: float

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.evidence.task.primary_metric

    @property
    def gain(self) -> Gain:
        """What is known of the gain."""
        sign = 1.0 if self.evidence.task.metrics[self.primary].higher_is_better else -1.0
        of_seeds = sign * (_column(self.shared, self.primary) - _column(self.alone, self.primary))
        drawn = self.replicates
        spread = drawn.over_seeds(sign * (drawn.shared[self.primary] - drawn.alone[self.primary])) if drawn else None
        return Gain(of_seeds, spread, self.margin)

    def skills(self, scores: Sequence[Scores]) -> Array:
        """Return the skill of each training, float64 [seeds]."""
        task = self.evidence.task
        return task.skill(_column(scores, task.skill_metric), np.array(self.constant[task.skill_metric]))


def _column(scores: Sequence[Scores], metric: str) -> Array:
    return np.array([each[metric] for each in scores])


def _scale(task: Task, constant: Scores) -> float:
    """Return the way from a constant prediction's score to a perfect one, in the primary metric's unit."""
    return abs(task.metrics[task.primary_metric].perfect - constant[task.primary_metric])


def measure(evidence: Evidence, rows: TestRows, evaluation: Evaluation, seed: int) -> Measured:
    """Score one task on the test rows as they are and on rows drawn again.

    Args:
        evidence: The task on the test rows.
        rows: What else is known of the test rows.
        evaluation: Draws and margins.
        seed: The project's seed.
    """
    task, state, labels = evidence.task, evidence.state, evidence.labels
    constant = score_task(task, state, labels, np.repeat(task.constant(state), len(labels), axis=0))
    default = MARGIN * _scale(task, constant)
    return Measured(
        evidence=evidence,
        shared=[score_task(task, state, labels, prediction) for prediction in evidence.shared],
        alone=[score_task(task, state, labels, prediction) for prediction in evidence.alone],
        constant=constant,
        replicates=replicate(evidence, rows.units, evaluation.draws, seed) if evidence.known.any() else None,
        margin=evaluation.margins.get(evidence.name, default),
    )


def evaluate_evidence(
    evidence: Sequence[Evidence],
    rows: TestRows,
    evaluation: Evaluation,
    seed: int,
    labelled: Mapping[str, Mapping[str, int]],
    fairness: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return reports/evaluation.json: scores, verdicts, composite and gates.

    Args:
        evidence: Every task on the test rows.
        rows: What else is known of the test rows.
        evaluation: What is declared of the verdict.
        seed: The project's seed.
        labelled: Labelled rows by task and side.
        fairness: What the gates on sensitive columns are judged by, see `judge_gates`; None = not measured.
    """
    measured = {each.name: measure(each, rows, evaluation, seed) for each in evidence}
    p = {name: paired_p(each.gain) for name, each in measured.items()}
    adjusted = holm(p)
    tested = max(1, sum(map(math.isfinite, p.values())))
    tasks = {name: _task(each, labelled[name], p[name], adjusted[name], tested) for name, each in measured.items()}
    gates = judge_gates(evaluation.gates, tasks, fairness)
    return {
        "version": 1,
        "tasks": tasks,
        "composite": compose({name: _part(each, tasks[name]) for name, each in measured.items()}),
        "gates": gates,
        "deployable": all(gate["passed"] for gate in gates),
        "test_reads": TEST_READS,
    }


def _task(measured: Measured, labelled: Mapping[str, int], p: float, adjusted: float, tested: int) -> dict[str, Any]:
    task, state, alone = measured.evidence.task, measured.evidence.state, mean_scores(measured.alone)
    return {
        "kind": task.kind,
        **({"given": task.given} if task.given else {}),
        "labelled": labelled,
        **({"prevalence": state["prevalence"]} if "prevalence" in state else {}),
        "primary": measured.primary,
        "higher_is_better": task.metrics[measured.primary].higher_is_better,
        "shared": mean_scores(measured.shared),
        "alone": alone,
        "exported": measured.shared[measured.evidence.exported],
        "intervals": _intervals(measured),
        "skill": _skill(measured),
        "transfer": transfer(measured.gain, alone[measured.primary], p, adjusted, tested),
    }


def _intervals(measured: Measured) -> dict[str, dict[str, Interval]]:
    """Return the 95 % interval of every score: of the means over trainings and rows, of the exported over rows.

    None reaches beyond the perfect score, as those of a few very different trainings else would.
    """
    drawn = measured.replicates
    if drawn is None:
        nothing: dict[str, Interval] = dict.fromkeys(measured.constant)
        return {"shared": nothing, "alone": nothing, "exported": nothing}
    task, exported = measured.evidence.task, measured.shared[measured.evidence.exported]

    def around(spread: Spread, metric: str, score: float) -> Interval:
        ends, (higher_is_better, perfect, _) = spread.interval_around(score), task.metrics[metric]
        cut = min if higher_is_better else max
        return [cut(end, perfect) for end in ends] if ends else None

    def of_means(values: Mapping[str, Array], scores: Scores) -> dict[str, Interval]:
        return {name: around(drawn.over_seeds(values[name]), name, score) for name, score in scores.items()}

    return {
        "shared": of_means(drawn.shared, mean_scores(measured.shared)),
        "alone": of_means(drawn.alone, mean_scores(measured.alone)),
        "exported": {name: around(drawn.of_exported(name), name, score) for name, score in exported.items()},
    }


def _skill(measured: Measured) -> dict[str, Any]:
    shared, alone = measured.skills(measured.shared), measured.skills(measured.alone)
    return {
        "shared": float(shared.mean()),
        "alone": float(alone.mean()),
        "exported": float(shared[measured.evidence.exported]),
        "gain": float((shared - alone).mean()),
        "interval": _skill_interval(measured),
    }


def _skill_interval(measured: Measured) -> Interval:
    """Return the interval of the gain in skill, None for a single training."""
    drawn, task = measured.replicates, measured.evidence.task
    if drawn is None or measured.evidence.seeds < 2:
        return None
    first = len(drawn.constant)  # draws in which the constant prediction was scored
    constant = drawn.constant[:, None]
    shared, alone = (task.skill(arm[task.skill_metric][:first], constant) for arm in (drawn.shared, drawn.alone))
    return drawn.over_seeds(shared - alone).interval()


def _part(measured: Measured, judged: Mapping[str, Any]) -> Part:
    return Part(
        gain=measured.gain,
        alone=judged["alone"][measured.primary],
        scale=_scale(measured.evidence.task, measured.constant),
        weight=measured.evidence.task.weight,
        skill=judged["skill"]["exported"],
        verdict=judged["transfer"]["verdict"],
    )
