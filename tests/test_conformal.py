"""Intervals and sets: they hold the label as often as they were asked to, in the exported file too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import expit, softmax
from world import split_project

from trunkline import stages
from trunkline.data.encode import read_encoder
from trunkline.errors import DataError, GateError
from trunkline.evaluation.calibration import measure_coverage
from trunkline.export.parity import check_parity
from trunkline.export.publish import Exporter
from trunkline.files import read_json, to_json
from trunkline.project import Project
from trunkline.serving.feeds import Input, build_feeds
from trunkline.serving.predict import predict_file
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask
from trunkline.tasks._modules import Correction, Predict, Region
from trunkline.training.arm import load_arm
from trunkline.training.conformal import (
    conformal_quantile,
    fit_region,
    least_rows,
    refuse_too_few,
    region_arrays,
)

Array = np.ndarray[Any, Any]

RARE = BinaryTask(kind="binary", target="y").fit("y", np.repeat([0.0, 1.0], [960, 40]))
CLASSES = MulticlassTask(kind="multiclass", target="y").fit("y", np.array(["a"] * 5 + ["b"] * 3 + ["c"] * 2, object))
CUT = RegressionTask(kind="regression", target="y", clip=[60.0, 140.0])
NUMBER = CUT.fit("y", np.random.default_rng(0).normal(100, 40, 1000))
CORRECTIONS = {"binary": Correction(0.8, 0.1), "multiclass": Correction(0.8, (0.0, 0.2, -0.1))}


def drawn(state: Any, rows: int, seed: int, wrong: float = 1.0) -> tuple[Array, Array]:
    """Outputs of a head that is not quite right, and labels in the target's own unit."""
    generator = np.random.default_rng(seed)
    outputs = (np.array(state["bias"]) + generator.normal(0, 1.5, (rows, state["outputs"]))).astype(np.float32)
    if state is NUMBER:  # heavy tails, wider for larger values, far beyond the range that training is cut to
        noise = generator.standard_t(3, rows) * (1 + np.abs(outputs[:, 0]))
        return outputs, 100 + 25 * outputs[:, 0] + wrong * 10 * noise
    if state is RARE:
        return outputs, (generator.random(rows) < expit(0.7 * outputs[:, 0] - 1)).astype(float)
    shares = softmax(1.4 * outputs, axis=1)
    return outputs, (generator.random(rows)[:, None] > shares.cumsum(axis=1)).sum(axis=1).astype(float)


def measured(state: Any, seed: int, coverage: float = 0.9, wrong: float = 1.0) -> dict[str, Any]:
    """What was covered of 5,000 fresh rows, with 2,000 to go by."""
    correction = CORRECTIONS.get(state["kind"], Correction())
    region = fit_region(state, correction, *drawn(state, 2000, seed), coverage)
    outputs, labels = drawn(state, 5000, seed + 1000, wrong)
    prediction = Predict([state], [correction])(torch.from_numpy(outputs))[0].numpy()
    return measure_coverage(state, labels, region_arrays(state, region, prediction), coverage)


@pytest.mark.parametrize("state", [RARE, CLASSES, NUMBER])
def test_ninety_percent_of_fresh_rows_are_covered(state: Any) -> None:
    found = [measured(state, seed) for seed in range(10)]
    assert np.mean([each["coverage"] for each in found]) == pytest.approx(0.9, abs=0.015)
    assert all(each["coverage"] == pytest.approx(0.9, abs=0.04) for each in found)
    for word in found[0].get("classes", {}):
        assert np.mean([each["classes"][word]["coverage"] for each in found]) == pytest.approx(0.9, abs=0.03)


def test_more_coverage_takes_wider_intervals_and_larger_sets() -> None:
    widths = [measured(NUMBER, 0, coverage)["mean_width"] for coverage in (0.5, 0.8, 0.99)]
    sizes = [measured(CLASSES, 0, coverage)["mean_size"] for coverage in (0.5, 0.8, 0.99)]
    assert widths == sorted(widths) and sizes == sorted(sizes)
    assert widths[0] < widths[2] / 2 and sizes[0] < sizes[2] / 1.5


def test_rows_that_became_harder_are_covered_less_often_and_the_measurement_says_so() -> None:
    found = measured(NUMBER, 0, wrong=2.0)
    assert found["interval"][1] < 0.85


def test_the_quantile_of_few_rows_is_the_one_that_the_proof_takes() -> None:
    def of(rows: int, coverage: float) -> float:
        return conformal_quantile(np.random.default_rng(0).permutation(np.arange(1.0, rows + 1)), coverage)

    assert [of(rows, 0.9) for rows in (9, 10, 11, 19, 20, 99, 100)] == [9, 10, 11, 18, 19, 90, 91]
    assert [of(rows, 0.5) for rows in (1, 2, 3, 4)] == [1, 2, 2, 3]
    assert conformal_quantile(np.arange(1.0, 100.0), 0.55) == 55  # 100 * 0.55 is a hair above 55 for a computer


@pytest.mark.parametrize("coverage", [0.5, 0.55, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_the_least_rows_are_just_enough(coverage: float) -> None:
    least = least_rows(coverage)
    scores = np.arange(float(least))
    assert conformal_quantile(scores, coverage) == least - 1
    assert math.ceil(least * coverage - 1e-9) > least - 1  # with one row fewer there is no such quantile


@pytest.mark.parametrize("output", np.linspace(-1, 1, 9).tolist())
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_labels_on_the_very_end_of_an_interval_are_inside_on_another_machine_too(far: float, output: float) -> None:
    state = {**NUMBER, "center": far, "spread": 3.0}
    labels = (far + np.random.default_rng(0).integers(-5, 6, 3000)).astype(np.float32)
    outputs = np.full((3000, 1), output, dtype=np.float32)
    region = fit_region(state, Correction(), outputs, labels, 0.9)
    prediction = Predict([state], [Correction()])(torch.from_numpy(outputs))[0].numpy()
    for elsewhere in (np.nextafter(prediction, np.float32(side)) for side in (-np.inf, np.inf)):
        found = measure_coverage(state, labels, region_arrays(state, region, elsewhere), 0.9)
        assert found["coverage"] >= 0.9
        assert found["mean_width"] < 18


def test_classes_with_the_very_least_probability_are_in_the_set() -> None:
    outputs = np.repeat(np.array([[-1.0], [1.0]], dtype=np.float32), 500, axis=0)
    labels = np.tile([0.0, 1.0], 500)
    region = fit_region(RARE, Correction(), outputs, labels, 0.9)
    noisy = expit(outputs.astype(np.float64) * (1 + 1e-6)).astype(np.float32)  # as another machine may compute it
    assert measure_coverage(RARE, labels, region_arrays(RARE, region, noisy), 0.9)["coverage"] == 1.0


def test_rows_without_a_label_say_nothing() -> None:
    outputs, labels = drawn(NUMBER, 500, 0)
    more = np.concatenate([outputs, 9 * outputs]), np.concatenate([labels, np.full(500, np.nan)])
    few, many = (fit_region(NUMBER, Correction(), *rows, 0.9) for rows in ((outputs, labels), more))
    assert few == many


REFUSED = [
    (NUMBER, [1.0] * 8 + [np.nan] * 50, "task 'y': calibration.coverage 0.9 takes at least 9 labelled rows in the"),
    (RARE, [0.0] * 500 + [1.0] * 8, "at least 9 labelled rows of class 'true' in the half of the validation rows that"),
    (CLASSES, [0.0] * 20 + [2.0] * 20, "at least 9 labelled rows of class 'b' in the half of the validation rows that"),
]


@pytest.mark.parametrize(("state", "labels", "words"), REFUSED)
def test_a_coverage_that_too_few_rows_vouch_for_is_refused(state: Any, labels: list[float], words: str) -> None:
    with pytest.raises(DataError) as refused:
        refuse_too_few({"y": state}, {"y": np.array(labels)}, {"y": 0.9, "another arm's": 0.999})
    assert words in str(refused.value)
    refuse_too_few({"y": state}, {"y": np.arange(27.0) % len(state["bias"] * (2 if state is RARE else 1))}, {"y": 0.9})
    refuse_too_few({"y": state}, {"y": np.array(labels)}, {})


def test_a_region_is_the_same_after_json() -> None:
    region = Region(0.9, (0.1, 0.2))
    assert Region.from_json(json.loads(to_json(region))) == region


# --- the exported file ------------------------------------------------------------------------------------

COVERAGE = {"spend": 0.9, "churn": 0.8, "plan": 0.9}


def exporter(root: Path, project: Project) -> Exporter:
    encoder = read_encoder(root / "data" / "encoded")
    arm = load_arm(root / "models" / "shared", encoder)
    best = arm.best_seed
    return Exporter(
        project.export, project.tasks, project.data, encoder, arm.networks[best], arm.states, arm.corrections[best],
        project.threads, arm.regions[best],
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exporter]:
    root = tmp_path_factory.mktemp("covered")
    project = split_project(root, calibration={"kind": "affine", "coverage": COVERAGE})
    for name in ("encode", "train"):
        stages.STAGES[name](root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    made = exporter(root, project)
    evaluation = read_json(root / "reports" / "evaluation.json")
    made.write(
        root / "data" / "split", root / "models" / "export", evaluation, {"data_sha256": "", "params_sha256": ""}
    )
    return root, made


def feeds_and_table(root: Path) -> tuple[dict[str, Array], Any]:
    table = pq.read_table(root / "data" / "split" / "rows.parquet")
    test = table.filter(pc.equal(table["side"], "test"))
    card = read_json(root / "models" / "export" / "card.json")
    return build_feeds(test, [Input(entry["name"], entry["kind"]) for entry in card["inputs"]])[0], test


def test_the_file_gives_regions_after_all_else_for_the_named_tasks(made: tuple[Path, Exporter]) -> None:
    session = onnxruntime.InferenceSession(made[0] / "models" / "export" / "model.onnx")
    outputs = [(output.name, output.type, output.shape) for output in session.get_outputs()]
    assert outputs[-4:] == [
        ("churn.set", "tensor(bool)", ["rows", 2]),
        ("plan.set", "tensor(bool)", ["rows", 3]),
        ("spend.lower", "tensor(float)", ["rows", 1]),
        ("spend.upper", "tensor(float)", ["rows", 1]),
    ]
    card = read_json(made[0] / "models" / "export" / "card.json")
    assert [entry["name"] for entry in card["outputs"]] == [name for name, _, _ in outputs]
    assert [(entry["part"], entry["coverage"]) for entry in card["outputs"][-4:]] == [
        ("set", 0.8), ("set", 0.9), ("lower", 0.9), ("upper", 0.9),
    ]  # fmt: skip


def test_an_outsider_counts_the_coverage_that_the_card_says(made: tuple[Path, Exporter]) -> None:
    root, _ = made
    session = onnxruntime.InferenceSession(root / "models" / "export" / "model.onnx")
    feeds, test = feeds_and_table(root)
    value, lower, upper, sets = session.run(["spend.value", "spend.lower", "spend.upper", "plan.set"], feeds)
    spent = test["spent"].to_numpy(zero_copy_only=False)
    known = ~np.isnan(spent)
    covered = np.mean((lower[known, 0] <= spent[known]) & (spent[known] <= upper[known, 0]))
    said = read_json(root / "models" / "export" / "card.json")["tasks"]
    assert said["spend"]["coverage"]["coverage"] == pytest.approx(covered, abs=0.005)  # labels there are float32
    assert covered == pytest.approx(0.9, abs=0.1)
    assert np.allclose(value - lower, upper - value, atol=1e-3)
    plans = test["plan_name"].to_pylist()
    words = ["free", "plus", "pro"]
    held = [sets[row, words.index(plan)] for row, plan in enumerate(plans) if plan]
    assert said["plan"]["coverage"]["coverage"] == pytest.approx(np.mean(held))
    assert "| spend |" in (root / "models" / "export" / "MODEL_CARD.md").read_text().split("held the label there")[1]


def test_predict_writes_the_regions_as_columns_and_the_golden_rows_hold_them(made: tuple[Path, Exporter]) -> None:
    root, _ = made
    model, out = root / "models" / "export" / "model.onnx", root / "out.parquet"
    for target in (out, root / "out.csv"):
        predict_file(model, root / "models" / "export" / "sample.parquet", target)
    table = pq.read_table(out)
    assert table.column_names[-8:] == [
        "churn.set.false", "churn.set.true", "plan.set.free", "plan.set.plus", "plan.set.pro",
        "spend.lower", "spend.upper", "rejected",
    ]  # fmt: skip
    assert table.schema.field("plan.set.pro").type == pa.bool_()
    assert table["spend.upper"].null_count == 0
    golden = read_json(root / "models" / "export" / "card.json")["golden"]["outputs"]
    assert {len(golden[name]) for name in ("churn.set", "plan.set", "spend.lower")} == {3}


def test_a_bound_that_moved_fails_parity(made: tuple[Path, Exporter]) -> None:
    root, exporter = made
    graph = (root / "models" / "export" / "model.onnx").read_bytes()
    feeds, _ = feeds_and_table(root)
    check = (exporter.model, graph, exporter.encoder, exporter.states, feeds, 0, 1)
    check_parity(*check)
    regions, names = exporter.model.regions, list(exporter.states)
    honest = list(regions.regions)
    for name, region in zip(names, honest, strict=True):
        assert region is not None
        moved = Region(region.coverage, tuple(bound * 0.9 for bound in region.bounds))
        regions.regions = [moved if other == name else kept for other, kept in zip(names, honest, strict=True)]
        with pytest.raises(GateError, match=rf"task '{name}': the ONNX file gives"):
            check_parity(*check)
    regions.regions = honest


def test_calibration_json_names_regions_only_where_coverage_is_declared(
    made: tuple[Path, Exporter], tmp_path: Path
) -> None:
    written = read_json(made[0] / "models" / "shared" / "calibration.json")
    assert list(written) == ["version", "kind", "rows", "corrections", "regions"]
    assert set(written["regions"][0]) == set(COVERAGE)
    project = split_project(tmp_path, 400)
    for name in ("encode", "train"):
        stages.STAGES[name](tmp_path, project)
    plain = read_json(tmp_path / "models" / "shared" / "calibration.json")
    assert list(plain) == ["version", "kind", "rows", "corrections"]
    assert load_arm(tmp_path / "models" / "shared", read_encoder(tmp_path / "data" / "encoded")).regions == [{}]


def test_too_little_validation_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400, calibration={"coverage": {"spend": 0.999}})
    stages.encode(tmp_path, project)
    with pytest.raises(DataError, match=r"task 'spend': calibration.coverage 0.999 takes at least 999 labelled rows"):
        stages.train(tmp_path, project)
    assert not (tmp_path / "models").exists()
