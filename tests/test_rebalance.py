from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from trunkline import stages
from trunkline.data.rebalance import plan
from trunkline.data.rows import write_rows
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


PROJECT = parse_project(
    {
        "version": 1,
        "data": {"key": ["id"]},
        "columns": {"x": {"kind": "numeric"}},
        "tasks": {"late": {"kind": "binary", "target": "y"}, "delay": {"kind": "regression", "target": "z"}},
        "split": {"kind": "random"},
    }
)


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
