"""Gates: judged on the unfavourable end of an interval, and never passed without evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulated import evidence

from trunkline.evaluation.declarations import Evaluation, Gates
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.gates import gate_problems, judge_gates
from trunkline.evaluation.score import evaluate_evidence

FAIRNESS = {
    "sex": {"task": {"gaps": {"selection_rate": {"value": 0.05, "interval": [0.02, 0.09]}}}},
    "age": {"task": {"gaps": {"selection_rate": {"value": 0.15, "interval": [0.08, 0.2]}}}},
}

PLAIN: dict[str, Any] = {
    "task": {"primary": "r2", "higher_is_better": True, "exported": {}, "intervals": {"exported": {}}, "transfer": {}}
}


def evaluated(task: Evidence, fairness: Any = None, **gates: float) -> dict[str, Any]:
    evaluation = Evaluation(draws=200, gates={"task": Gates(**gates)})
    rows = TestRows(np.arange(len(task.labels)))
    return evaluate_evidence([task], rows, evaluation, 0, {"task": {"test": len(task.labels)}}, fairness)


def gate(task: Evidence, **gates: float) -> dict[str, Any]:
    content = evaluated(task, **gates)
    (only,) = content["gates"]
    assert content["deployable"] is only["passed"]
    return only


def test_without_a_gate_every_model_may_be_deployed() -> None:
    content = evaluated(evidence(rows=200))
    assert content["gates"] == [] and content["deployable"] is True


def test_regret_is_judged_on_the_upper_limit_of_what_sharing_costs() -> None:
    task = evidence(rows=2000, shift=-0.2, noise=0.02)
    content = evaluated(task, max_regret=0.01)
    transfer, (regret,) = content["tasks"]["task"]["transfer"], content["gates"]
    assert regret["value"] == pytest.approx(-transfer["gain"]) and regret["value"] > 0.01
    assert regret["bound"] == pytest.approx(-transfer["interval"][0]) and regret["bound"] > regret["value"]
    between = (regret["value"] + regret["bound"]) / 2
    assert [gate(task, max_regret=limit)["passed"] for limit in (0.01, between, 0.5)] == [False, False, True]


def test_one_training_is_no_evidence_of_little_regret() -> None:
    only = gate(evidence(rows=500, seeds=1, shift=0.5), max_regret=0.5)
    assert only["value"] < 0 and only["bound"] is None and only["passed"] is False


@pytest.mark.parametrize(("kind", "primary", "side"), [("binary", "roc_auc", 0), ("regression", "mae", 1)])
def test_a_value_is_judged_on_the_exported_models_worse_end(kind: str, primary: str, side: int) -> None:
    task = evidence(kind, rows=1000, primary=primary, seeds=1)
    content = evaluated(task)["tasks"]["task"]
    ends, value = content["intervals"]["exported"][primary], content["exported"][primary]
    step = 1e-6 * (1 if side else -1)
    passes, fails = gate(task, min_value=ends[side] + step), gate(task, min_value=value)
    assert passes["passed"] and not fails["passed"]
    assert passes["bound"] == ends[side] and passes["value"] == value


def test_calibration_is_judged_on_the_upper_end() -> None:
    task = evidence("binary", rows=2000)
    only = gate(task, max_calibration_error=1.0)
    assert 0 < only["value"] < only["bound"] < 1 and only["passed"]
    assert not gate(task, max_calibration_error=only["value"])["passed"]


def test_a_task_without_test_labels_passes_no_gate() -> None:
    task = evidence("binary", rows=100)
    empty = replace(task, labels=np.full(100, np.nan))
    content = evaluated(empty, max_regret=1.0, min_value=0.0, max_calibration_error=1.0)
    assert [entry["bound"] for entry in content["gates"]] == [None] * 3
    assert not any(entry["passed"] for entry in content["gates"]) and not content["deployable"]


def test_every_sensitive_column_is_judged_on_the_upper_end_of_its_gap() -> None:
    task = evidence("binary", rows=200)
    content = evaluated(task, FAIRNESS, max_selection_rate_gap=0.1)
    sex, age = content["gates"]
    assert (sex["column"], sex["value"], sex["bound"], sex["passed"]) == ("sex", 0.05, 0.09, True)
    assert (age["column"], age["bound"], age["passed"]) == ("age", 0.2, False)
    assert content["deployable"] is False


@pytest.mark.parametrize("fairness", [None, {}, {"sex": {"other": {"gaps": {}}}}, {"sex": {"task": {"gaps": {}}}}])
def test_a_gap_that_was_not_measured_has_not_passed(fairness: Any) -> None:
    found = judge_gates({"task": Gates(max_true_positive_rate_gap=1.0)}, PLAIN, fairness)
    assert [(entry["rule"], entry["bound"], entry["passed"]) for entry in found] == [
        ("max_true_positive_rate_gap", None, False)
    ]


def test_a_gate_that_can_never_be_judged_is_named() -> None:
    number, yes = evidence(rows=50).task, evidence("binary", rows=50).task
    assert list(gate_problems("t", number, Gates(max_calibration_error=0.1, max_regret=0.1), [])) == [
        "evaluation.gates.t.max_calibration_error: a regression task has no calibration error; remove the gate"
    ]
    (of_rate,) = gate_problems("t", number, Gates(max_selection_rate_gap=0.1), ["sex"])
    assert "a regression task has no such rate" in of_rate
    (of_groups,) = gate_problems("t", yes, Gates(max_selection_rate_gap=0.1), [])
    assert "evaluation.gates.t.max_selection_rate_gap: no column is declared sensitive" in of_groups
    assert not list(gate_problems("t", yes, Gates(max_selection_rate_gap=0.1, max_calibration_error=0.1), ["sex"]))
