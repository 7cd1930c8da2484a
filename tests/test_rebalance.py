from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trunkline import stages
from trunkline.data.rebalance import plan, rule_of
from trunkline.data.rebalance.class_weights import ClassWeights
from trunkline.data.rebalance.density import Density
from trunkline.data.rebalance.effective_number import EffectiveNumber
from trunkline.data.rebalance.focal import Focal, best_constant
from trunkline.data.rebalance.oversample import Oversample
from trunkline.data.rebalance.undersample import Undersample
from trunkline.data.rows import write_rows
from trunkline.errors import ParamsError
from trunkline.files import read_json, seal
from trunkline.project import parse_project
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask


def test_a_binary_plan_counts_labelled_rows_and_measures_prevalence() -> None:
    labels = pa.chunked_array([[True, None, False], [False, False]])
    assert plan(BinaryTask(kind="binary", target="y"), labels) == {
        "version": 1,
        "draws": "equal",
        "rows": 4,
        "classes": {"false": 3, "true": 1},
        "prior": 0.25,
        "class_weights": {"false": 1.0, "true": 1.0},
        "prior_shift": {"false": 0.0, "true": 0.0},
    }


def test_a_multiclass_plan_keeps_the_order_of_the_outputs() -> None:
    labels = pa.array(["b", "a", None, "b", "c"])
    found = plan(MulticlassTask(kind="multiclass", target="y"), labels)
    assert list(found["classes"].items()) == [("a", 1), ("b", 2), ("c", 1)]
    assert found["prior"] == {"a": 0.25, "b": 0.5, "c": 0.25}
    declared = plan(MulticlassTask(kind="multiclass", target="y", classes=["c", "b", "a", "d"]), labels)
    assert list(declared["classes"].items()) == [("c", 1), ("b", 2), ("a", 1), ("d", 0)]
    assert set(declared["class_weights"].values()) == {1.0} and set(declared["prior_shift"].values()) == {0.0}


def test_a_regression_plan_has_mean_and_spread_and_no_classes() -> None:
    found = plan(RegressionTask(kind="regression", target="y"), pa.array([1.0, None, 3.0]))
    assert (found["rows"], found["prior"]) == (2, {"mean": 2.0, "sd": 1.0})
    assert found["classes"] == found["class_weights"] == found["prior_shift"] == {}


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (BinaryTask(kind="binary", target="y"), pa.bool_()),
        (MulticlassTask(kind="multiclass", target="y"), pa.string()),
        (RegressionTask(kind="regression", target="y"), pa.float64()),
    ],
)
def test_a_task_without_labels_has_no_prior(task: Any, kind: pa.DataType) -> None:
    found = plan(task, pa.nulls(3, kind))
    assert (found["rows"], found["prior"]) == (0, None)


BINARY = BinaryTask(kind="binary", target="y")
RARE = pa.array([True] * 10 + [False] * 990)


@pytest.mark.parametrize(
    ("rule", "odds"),
    [
        (ClassWeights(kind="class_weights"), 99.0),
        (ClassWeights(kind="class_weights", power=0.5), 99.0**0.5),
        (ClassWeights(kind="class_weights", power=0.0), 1.0),
        (EffectiveNumber(kind="effective_number", beta=0.99), (1 - 0.99**990) / (1 - 0.99**10)),
        (EffectiveNumber(kind="effective_number", beta=1 - 1e-9), 99.0),
        (EffectiveNumber(kind="effective_number", beta=0.0), 1.0),
        (Undersample(kind="undersample", ratio=0.1), 9.9),
        (Oversample(kind="oversample"), 99.0),
        (Oversample(kind="oversample", ratio=0.01), 1.0),  # it is there already
        (Focal(kind="focal", alpha=0.25), 1 / 3),
    ],
)
def test_a_row_counts_by_its_class_and_one_on_average(rule: Any, odds: float) -> None:
    found = plan(BINARY, RARE, rule=rule)
    weights = found["class_weights"]
    assert weights["true"] / weights["false"] == pytest.approx(odds, rel=1e-5)
    assert (10 * weights["true"] + 990 * weights["false"]) / 1000 == pytest.approx(1)
    assert found["rule"] == rule.model_dump(mode="json")
    if rule.kind != "focal":
        shift = found["prior_shift"]["true"] - found["prior_shift"]["false"]
        assert shift == pytest.approx(np.log(odds), rel=1e-5)
        seen = 0.01 * weights["true"]
        entropy = -(seen * np.log(seen) + (1 - seen) * np.log(1 - seen))
        assert found["constant_loss"] == pytest.approx(entropy)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.99, 0.01], [0.7, 0.2, 0.1], [0.999, 0.0005, 0.0005]])
def test_no_constant_has_less_focal_loss_than_the_best(shares: list[float], gamma: float) -> None:
    of_classes, best = np.array(shares), best_constant(np.array(shares), gamma)

    def loss(p: np.ndarray[Any, Any]) -> float:
        return float(-(of_classes @ ((1 - p) ** gamma * np.log(p))))

    assert best.sum() == pytest.approx(1)
    for place in range(len(shares)):
        for step in (-1e-3, 1e-3):
            moved = best * np.where(np.arange(len(shares)) == place, 1 + step, 1)
            assert loss(moved / moved.sum()) > loss(best)


def test_a_number_counts_by_the_share_of_its_like_and_no_more_than_capped() -> None:
    labels = np.concatenate([np.random.default_rng(0).exponential(1.0, 5000), [1e4]])
    held = plan(
        RegressionTask(kind="regression", target="y", clip=[0, 20]),
        pa.array(labels),
        rule=Density(kind="density", cap=8),
    )["density"]
    weights = np.interp(np.clip(labels, 0, 20), held["labels"], held["weights"])
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() == pytest.approx(8)
    at = dict(zip((0.5, 2.5), np.interp([0.5, 2.5], held["labels"], held["weights"]), strict=True))
    assert at[2.5] / at[0.5] == pytest.approx(np.e, rel=0.15)  # a density of exp(-y), to the power -1/2


def test_labels_that_teach_nothing_are_left_for_encode_to_refuse() -> None:
    for rule in (ClassWeights(kind="class_weights"), Focal(kind="focal"), Undersample(kind="undersample")):
        found = plan(BINARY, pa.array([False, False]), rule=rule)
        assert "rule" not in found and found["class_weights"] == {"false": 1.0, "true": 1.0}


@pytest.mark.parametrize(
    ("rebalance", "message"),
    [
        (
            {"kind": "equal", "tasks": {"delay": {"kind": "class_weights"}}},
            "params.yaml: rebalance.tasks.delay.kind: class_weights is for tasks of kind binary or multiclass, not "
            "regression; choose equal or density",
        ),
        (
            {"kind": "equal", "tasks": {"late": {"kind": "density"}}},
            "params.yaml: rebalance.tasks.late.kind: density is for tasks of kind regression, not binary; "
            "choose equal, class_weights, effective_number, logit_adjustment, focal, undersample or oversample",
        ),
        (
            {"kind": "oversample"},
            "params.yaml: rebalance.kind: oversample is for tasks of kind binary or multiclass, not regression; "
            "for delay choose equal or density under rebalance.tasks",
        ),
        (
            {"kind": "equal", "tasks": {"lat": {"kind": "focal"}}},
            "params.yaml: rebalance.tasks: 'lat' is no task; did you mean 'late'?",
        ),
        (
            {"kind": "equal", "tasks": {"late": {"kind": "focus"}}},
            "params.yaml: rebalance.tasks.late.kind: 'focus' is unknown; choose one of equal, class_weights, "
            "effective_number, logit_adjustment, focal, undersample, oversample, density; did you mean 'focal'?",
        ),
        (
            {"kind": "equal", "tasks": {"late": {"kind": "class_weights", "pover": 0.5}}},
            "params.yaml: rebalance.tasks.late.pover: is not a setting here; did you mean 'power'?",
        ),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_with_the_way_on(rebalance: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as fault:
        parse_project({**CONTENT, "rebalance": rebalance})
    assert str(fault.value) == message


def test_alpha_is_refused_where_there_is_no_yes() -> None:
    tasks = {"size": {"kind": "multiclass", "target": "y"}}
    own = {"kind": "equal", "tasks": {"size": {"kind": "focal", "alpha": 0.5}}}
    with pytest.raises(ParamsError, match=r"focal weighs yes against no by alpha, .* remove alpha"):
        parse_project({**CONTENT, "tasks": tasks, "rebalance": own})


def test_a_task_without_a_rule_of_its_own_follows_the_one_for_all() -> None:
    own = {"kind": "class_weights", "power": 0.3, "tasks": {"delay": {"kind": "equal"}}}
    rebalance = parse_project({**CONTENT, "rebalance": own}).rebalance
    assert rule_of(rebalance, "delay").kind == "equal"
    assert plan(BINARY, RARE, rule=rule_of(rebalance, "late"))["rule"] == {"kind": "class_weights", "power": 0.3}


CONTENT: dict[str, Any] = {
    "version": 1,
    "data": {"key": ["id"]},
    "columns": {"x": {"kind": "numeric"}},
    "tasks": {"late": {"kind": "binary", "target": "y"}, "delay": {"kind": "regression", "target": "z"}},
    "split": {"kind": "random"},
}
PROJECT = parse_project(CONTENT)


def rebalanced(root: Path, z: list[float | None]) -> dict[str, bytes]:
    table = pa.table(
        {"y": [True, False, None, True], "z": pa.array(z, pa.float64()), "side": ["train", "train", "train", "test"]}
    )
    with write_rows(root / "data/split/rows.parquet", table.schema) as write:
        write(table)
    seal(root / "data/split", ["rows.parquet"])
    stages.rebalance(root, PROJECT)
    return {path.name: path.read_bytes() for path in (root / "data/rebalance").iterdir()}


def test_the_stage_reads_training_rows_only_and_writes_one_file_per_task(tmp_path: Path) -> None:
    before = rebalanced(tmp_path, [1.0, 2.0, 3.0, 99.0])
    assert sorted(before) == ["delay.json", "late.json"]
    assert read_json(tmp_path / "data/rebalance/late.json")["classes"] == {"false": 1, "true": 1}
    assert read_json(tmp_path / "data/rebalance/delay.json")["prior"]["mean"] == 2.0
    after = rebalanced(tmp_path, [1.0, 2.0, 6.0, 99.0])
    assert after["late.json"] == before["late.json"]
    assert after["delay.json"] != before["delay.json"]
