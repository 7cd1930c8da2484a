"""Calibration: confidences become honest, levels move only when asked, and the report's figures know their answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score
from world import params

from trunkline.errors import ParamsError
from trunkline.evaluation.calibration import (
    analyse,
    calibration_curve,
    histogram,
    measure_coverage,
    over_time,
    value_curve,
    wilson,
)
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.files import to_json
from trunkline.project import parse_project
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask
from trunkline.tasks._modules import Correction, Predict
from trunkline.tasks.binary import calibration_error
from trunkline.training.calibrate import fit_correction, fit_corrections

Array = np.ndarray[Any, Any]

BINARY = BinaryTask(kind="binary", target="y").fit("y", np.repeat([0.0, 1.0], [800, 200]))
BALANCED = BinaryTask(kind="binary", target="y").fit("y", np.repeat([0.0, 1.0], 500))
CLASSES = MulticlassTask(kind="multiclass", target="y").fit("y", np.array(["a"] * 5 + ["b"] * 3 + ["c"] * 2, object))
NUMBER = RegressionTask(kind="regression", target="y").fit("y", np.random.default_rng(0).normal(100, 20, 1000))
ROWS = 40_000


def binary_rows(seed: int, state: Any, slope: float, shift: float = 0.0) -> tuple[Array, Array]:
    """Outputs of a head, and labels to which logit' = bias + slope (logit - bias) + shift would be honest."""
    generator, bias = np.random.default_rng(seed), state["bias"][0]
    outputs = generator.normal(bias, 1.5 / slope, (ROWS, 1)).astype(np.float32)
    return outputs, (generator.random(ROWS) < expit(bias + slope * (outputs[:, 0] - bias) + shift)).astype(float)


def class_rows(seed: int, slope: float, shift: Array) -> tuple[Array, Array]:
    generator, bias = np.random.default_rng(seed), np.array(CLASSES["bias"])
    outputs = (bias + generator.normal(0, 1.2 / slope, (ROWS, 3))).astype(np.float32)
    shares = softmax(bias + slope * (outputs - bias) + shift, axis=1)
    return outputs, (generator.random(ROWS)[:, None] > shares.cumsum(axis=1)).sum(axis=1).astype(float)


def predicted(state: Any, correction: Correction, outputs: Array) -> Array:
    return Predict([state], [correction])(torch.from_numpy(outputs))[0].numpy()


def test_a_boastful_classifier_becomes_honest_and_ranks_as_before() -> None:
    (outputs, labels), (fresh, truth) = (binary_rows(seed, BALANCED, 1 / 3) for seed in (0, 1))
    before, after = (
        predicted(BALANCED, correction, fresh)[:, 0]
        for correction in (Correction(), fit_correction(BALANCED, outputs, labels))
    )
    assert calibration_error(before, truth) > 0.05
    assert calibration_error(after, truth) <= calibration_error(before, truth) / 3
    assert roc_auc_score(truth, after) == pytest.approx(roc_auc_score(truth, before), abs=1e-4)


def test_boasting_that_moved_the_level_too_is_mended_by_affine_alone() -> None:
    (outputs, labels), (fresh, truth) = (binary_rows(seed, BINARY, 1 / 3) for seed in (0, 1))
    errors = {
        kind: calibration_error(predicted(BINARY, fit_correction(BINARY, outputs, labels, kind), fresh)[:, 0], truth)
        for kind in ("slope", "affine")
    }
    assert errors["affine"] <= calibration_error(predicted(BINARY, Correction(), fresh)[:, 0], truth) / 3
    assert errors["slope"] > 3 * errors["affine"]


def test_a_boastful_classifier_of_several_classes_becomes_honest_and_chooses_as_before() -> None:
    (outputs, labels), (fresh, truth) = (class_rows(seed, 1 / 3, np.zeros(3)) for seed in (0, 1))
    before, after = (
        predicted(CLASSES, correction, fresh) for correction in (Correction(), fit_correction(CLASSES, outputs, labels))
    )

    def error(found: Array) -> float:
        return calibration_error(found.max(axis=1).astype(float), found.argmax(axis=1) == truth)

    assert error(before) > 0.05
    assert error(after) <= error(before) / 3


def test_affine_finds_the_planted_slope_and_intercept_of_every_kind() -> None:
    slope, shift = fit_correction(BINARY, *binary_rows(2, BINARY, 0.5, 0.8), kind="affine")
    assert (slope, shift) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.8, abs=0.04))
    slope, shift = fit_correction(CLASSES, *class_rows(3, 0.6, np.array([0.0, 0.7, -0.4])), kind="affine")
    assert slope == pytest.approx(0.6, abs=0.02)
    assert shift == pytest.approx((0.0, 0.7, -0.4), abs=0.05)
    generator = np.random.default_rng(4)
    outputs = generator.normal(size=(ROWS, 1)).astype(np.float32)
    labels = 0.7 * outputs[:, 0] - 0.3 + generator.normal(0, 0.5, ROWS)
    labels[::7] = np.nan
    correction = fit_correction(NUMBER, outputs, labels, kind="affine")
    assert correction == (pytest.approx(0.7, abs=0.01), pytest.approx(-0.3, abs=0.01))
    value = predicted(NUMBER, correction, np.array([[1.0]], dtype=np.float32))[0, 0]
    assert value == pytest.approx(NUMBER["center"] + 0.4 * NUMBER["spread"], abs=0.02 * NUMBER["spread"])


def test_slope_keeps_the_mean_prediction_and_affine_moves_it_to_what_was_seen() -> None:
    outputs, labels = binary_rows(5, BINARY, 0.5, -1.0)
    means = {
        kind: predicted(BINARY, fit_correction(BINARY, outputs, labels, kind), outputs).mean()
        for kind in ("slope", "affine")
    }
    assert means["slope"] == pytest.approx(predicted(BINARY, Correction(), outputs).mean(), rel=1e-5)
    assert means["affine"] == pytest.approx(labels.mean(), rel=1e-3)
    assert means["slope"] > 1.5 * means["affine"]


def test_numbers_are_corrected_by_affine_only_and_only_as_far_as_is_sane() -> None:
    outputs = np.linspace(-1, 1, 100, dtype=np.float32)[:, None]
    assert fit_correction(NUMBER, outputs, 2.0 * outputs[:, 0] + 1) == (1.0, 0.0)
    assert fit_correction(NUMBER, outputs, -outputs[:, 0] + 1, kind="affine") == (0.25, pytest.approx(1.0))
    assert fit_correction(NUMBER, 0 * outputs, outputs[:, 0] + 3, kind="affine") == (1.0, pytest.approx(3.0))
    assert fit_correction(NUMBER, outputs[:49], outputs[:49, 0] + 3, kind="affine") == (1.0, 0.0)


def test_every_head_gets_the_correction_of_its_own_outputs() -> None:
    states = {"words": CLASSES, "number": NUMBER, "yes": BINARY}
    words, places = class_rows(6, 0.5, np.array([0.0, 0.3, -0.3]))
    yes, truth = binary_rows(7, BINARY, 0.8, 0.5)
    number = np.random.default_rng(8).normal(size=(ROWS, 1)).astype(np.float32)
    outputs, targets = np.hstack([words, number, yes]), np.stack([places, 2 * number[:, 0], truth], axis=1)
    found = fit_corrections(states, outputs, targets.astype(np.float32), "affine")
    assert found["words"] == fit_correction(CLASSES, words, places, "affine")
    assert found["number"] == (pytest.approx(2), pytest.approx(0, abs=1e-6))
    assert found["yes"] == fit_correction(BINARY, yes, truth, "affine")
    assert set(fit_corrections(states, outputs, targets, "none").values()) == {(1.0, 0.0)}


def test_a_correction_is_the_same_after_json() -> None:
    for correction in (Correction(), Correction(0.5, 0.25), Correction(2.0, (0.0, 1.5, -0.5))):
        assert Correction.from_json(json.loads(to_json(correction))) == correction


@pytest.mark.parametrize("share", [0.4, 1.0, "much"])
def test_a_coverage_that_makes_no_sense_is_refused(share: object) -> None:
    assert parse_project(params(calibration={"coverage": {"spend": 0.9}})).calibration.coverage == {"spend": 0.9}
    with pytest.raises(ParamsError, match=r"calibration\.coverage\.spend"):
        parse_project(params(calibration={"coverage": {"spend": share}}))


# --- what the report shows --------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (5, 10), (10, 10), (3, 1000)])
def test_the_interval_of_a_share_is_scipys(hits: int, rows: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert wilson(hits, rows) == pytest.approx([expected.low, expected.high], abs=1e-12)


def curve_error(curve: list[dict[str, Any]]) -> float:
    rows = sum(point["rows"] for point in curve)
    return sum(point["rows"] * abs(point["predicted"] - point["observed"]) for point in curve) / rows


def test_the_curves_error_is_the_calibration_error_and_its_points_hold_every_row() -> None:
    generator = np.random.default_rng(0)
    confidence = np.concatenate([[0.0, 1.0, 1 / 15, 2 / 15], generator.random(3000) ** 2])
    correct = (generator.random(len(confidence)) < confidence**1.5).astype(float)
    curve = calibration_curve(confidence, correct)
    assert curve_error(curve) == pytest.approx(calibration_error(confidence, correct), abs=1e-12)
    assert sum(point["rows"] for point in curve) == len(confidence)
    assert [point["low"] < point["predicted"] <= point["high"] for point in curve[1:]] == [True] * 14
    assert len(calibration_curve(np.full(5, 0.5), np.ones(5))) == 1


def test_the_curve_of_a_number_shows_where_it_is_too_high() -> None:
    value = np.arange(1500.0)
    points = value_curve(value, np.where(value < 750, value, value - 50))
    assert [point["rows"] for point in points] == [100] * 15
    assert points[0]["observed"] == points[0]["predicted"] == 49.5
    assert points[-1]["predicted"] - points[-1]["observed"] == 50
    assert points[-1]["interval"][0] < points[-1]["observed"] < points[-1]["interval"][1]


def test_over_time_shows_the_month_in_which_a_model_went_wrong_whatever_the_order_of_the_rows() -> None:
    generator = np.random.default_rng(1)
    days = generator.integers(0, 120, 8000)
    time = np.datetime64("2013-01-01T05:00:00") + days.astype("timedelta64[D]")
    observed = (generator.random(8000) < np.where(days < 90, 0.2, 0.5)).astype(float)
    points = over_time(time, np.full(8000, 0.2), observed, number=False)
    assert [point["start"][:7] for point in points] == ["2013-01", "2013-02", "2013-03", "2013-04"]
    assert [point["interval"][0] > point["predicted"] for point in points] == [False, False, False, True]
    order = generator.permutation(8000)
    assert over_time(time[order], np.full(8000, 0.2), observed[order], number=False) == [
        {**point, "predicted": pytest.approx(0.2)} for point in points
    ]


def test_a_short_time_is_cut_into_blocks_that_keep_equal_moments_together() -> None:
    time = np.datetime64("2013-01-01T00:00:00") + np.repeat(np.arange(100), 7).astype("timedelta64[h]")
    points = over_time(time, np.zeros(700), np.arange(700.0), number=True)
    assert len(points) == 12
    assert all(point["rows"] % 7 == 0 for point in points)
    assert all(before["end"] < after["start"] for before, after in pairwise(points))
    assert len(over_time(time[:7], np.zeros(7), np.zeros(7), number=True)) == 1


def test_histograms_count_every_row_once_by_its_label() -> None:
    yes = histogram(BINARY, np.array([[0.0], [0.99], [1.0], [0.5]]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert yes["counts"]["true"] == [0] * 19 + [2]
    assert (yes["counts"]["false"][0], yes["counts"]["false"][10], sum(yes["counts"]["false"])) == (1, 1, 2)
    words = histogram(CLASSES, np.array([[0.72, 0.2, 0.1], [0.1, 0.11, 0.8]]), np.array([0.0, 1.0]))
    assert {word: int(np.argmax(counts)) for word, counts in words["counts"].items()} == {"a": 14, "b": 2, "c": 0}
    assert sum(words["counts"]["c"]) == 0
    labels = np.append(np.arange(1000.0), 1e6)
    number = histogram(NUMBER, np.full((1001, 1), 500.0), labels)
    assert [sum(counts) for counts in number["counts"].values()] == [1001, 1001]
    assert number["edges"][-1] < 2000
    assert sum(histogram(NUMBER, np.ones((3, 1)), np.ones(3))["counts"]["label"]) == 3


def test_coverage_is_counted_over_labelled_rows_and_class_by_class() -> None:
    labels = np.array([1.0, 2.0, np.nan, 4.0])
    lower, upper = np.array([[1.0], [2.5], [0.0], [3.0]]), np.array([[2.0], [3.5], [9.0], [4.0]])
    found = measure_coverage(NUMBER, labels, [lower, upper], 0.9)
    assert (found["asked"], found["rows"], found["coverage"], found["mean_width"]) == (0.9, 3, 2 / 3, 1.0)
    sets = np.array([[True, False], [True, True], [False, False], [False, True]])
    found = measure_coverage(BINARY, np.array([0.0, 1.0, 1.0, np.nan]), [sets], 0.9)
    assert (found["coverage"], found["mean_size"], found["empty"]) == (2 / 3, 1.0, 1 / 3)
    assert {word: part["coverage"] for word, part in found["classes"].items()} == {"false": 1.0, "true": 0.5}


@pytest.mark.parametrize("state", [BINARY, CLASSES, NUMBER])
def test_the_analysis_of_every_kind_is_plain_json_of_the_exported_seed(state: Any) -> None:
    generator = np.random.default_rng(2)
    raw = generator.random((2, 300, state["outputs"])).astype(np.float32)
    shared = raw / raw.sum(axis=2, keepdims=True) if state is CLASSES else raw
    labels = generator.integers(0, 2, 300).astype(float)
    labels[:20] = np.nan
    task = BinaryTask(kind="binary", target="y")
    evidence = Evidence("y", task, state, labels, shared, shared, exported=1)
    time = np.datetime64("2013-01-01T00:00:00") + np.arange(300).astype("timedelta64[D]")
    found = analyse(evidence, TestRows(np.arange(300), time))
    assert json.loads(json.dumps(found)) == found
    assert sum(point["rows"] for point in found["calibration"]) == 280
    assert len(found["calibration_over_time"]) == 10
    assert "calibration_over_time" not in analyse(evidence, TestRows(np.arange(300)))
    promised = shared[1, 20:].max(axis=1).mean() if state is CLASSES else shared[1, 20:].mean()
    points = found["calibration"]
    assert sum(p["rows"] * p["predicted"] for p in points) / 280 == pytest.approx(float(promised), rel=1e-5)
