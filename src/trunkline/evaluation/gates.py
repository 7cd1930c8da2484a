"""Gates: what a task must fulfil before the model may be deployed.

    max_regret                   what sharing costs the task against alone, over the pairs of trainings
    min_value                    primary score of the exported model; a ceiling where lower is better
    max_calibration_error        of the exported model
    max_selection_rate_gap,      largest difference between groups of a sensitive column, of the exported model; one
    max_true_positive_rate_gap,  gate per sensitive column
    max_false_positive_rate_gap

Each is judged on `bound`, the unfavourable end of the 95 % interval of its `value`. Where there is no interval, as for
the regret of a single training, there is no evidence and the gate has not passed; `bound` is null then.

A calibration error is never negative, so that chance alone makes it larger, the more so the fewer rows there are:
its gate errs to the side of caution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.evaluation.declarations import Gates
from trunkline.tasks import Task

GAPS = {
    "max_selection_rate_gap": "selection_rate",
    "max_true_positive_rate_gap": "true_positive_rate",
    "max_false_positive_rate_gap": "false_positive_rate",
}

Json = Mapping[str, Any]


def judge_gates(gates: Mapping[str, Gates], tasks: Mapping[str, Json], fairness: Json | None) -> list[dict[str, Any]]:
    """Return every declared gate with its value, its bound and whether it passed.

    Args:
        gates: The declared gates, by task.
        tasks: `tasks` of evaluation.json.
        fairness: By sensitive column and task its "gaps", by measure their "value" and "interval"; None = not measured.
    """
    return [
        {"task": name, **entry}
        for name, of_task in gates.items()
        for entry in (
            *_of_sharing(of_task, tasks[name]),
            *_of_model(of_task, tasks[name]),
            *_of_groups(name, of_task, fairness or {}),
        )
    ]


def _of_sharing(gates: Gates, task: Json) -> Iterator[dict[str, Any]]:
    if gates.max_regret is not None:
        transfer = task["transfer"]
        bound = -transfer["interval"][0] if transfer["interval"] else None
        yield _at_most("max_regret", gates.max_regret, -transfer["gain"], bound)


def _of_model(gates: Gates, task: Json) -> Iterator[dict[str, Any]]:
    primary, exported, intervals = task["primary"], task["exported"], task["intervals"]["exported"]
    if gates.min_value is not None:
        value, ends = exported[primary], intervals[primary]
        if task["higher_is_better"]:
            passed = bool(ends and ends[0] >= gates.min_value)
            yield _entry("min_value", gates.min_value, value, ends[0] if ends else None, passed)
        else:
            yield _at_most("min_value", gates.min_value, value, ends[1] if ends else None)
    if gates.max_calibration_error is not None:
        ends = intervals["calibration_error"]
        limit, value = gates.max_calibration_error, exported["calibration_error"]
        yield _at_most("max_calibration_error", limit, value, ends[1] if ends else None)


def _of_groups(name: str, gates: Gates, fairness: Json) -> Iterator[dict[str, Any]]:
    nothing: list[tuple[str | None, Any]] = [(None, None)]
    for rule, measure in GAPS.items():
        limit = getattr(gates, rule)
        if limit is None:
            continue
        found = [(column, tasks[name]["gaps"].get(measure)) for column, tasks in fairness.items() if name in tasks]
        for column, gap in found or nothing:  # what was not measured has not passed
            value, ends = (gap["value"], gap["interval"]) if gap else (None, None)
            yield {**_at_most(rule, limit, value, ends[1] if ends else None), "column": column}


def _at_most(rule: str, limit: float, value: float | None, bound: float | None) -> dict[str, Any]:
    return _entry(rule, limit, value, bound, bound is not None and bound <= limit)


def _entry(rule: str, limit: float, value: float | None, bound: float | None, passed: bool) -> dict[str, Any]:
    return {"rule": rule, "limit": limit, "value": value, "bound": bound, "passed": passed}


def gate_problems(name: str, task: Task, gates: Gates, sensitive: list[str]) -> Iterator[str]:
    """Yield a sentence for each gate that can never be judged.

    Args:
        name: The task's name.
        task: Its declaration.
        gates: Its declared gates.
        sensitive: The declared sensitive columns.
    """
    where = f"evaluation.gates.{name}"
    if gates.max_calibration_error is not None and "calibration_error" not in task.metrics:
        yield f"{where}.max_calibration_error: a {task.kind} task has no calibration error; remove the gate"
    for rule in (rule for rule in GAPS if getattr(gates, rule) is not None):
        if task.kind != "binary":
            yield f"{where}.{rule}: a {task.kind} task has no such rate; only a binary task has, so remove the gate"
        elif not sensitive:
            yield f"{where}.{rule}: no column is declared sensitive; name those that form the groups in data.sensitive"
