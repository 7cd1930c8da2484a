"""The bootstrap: metrics of drawn rows are exact, draws are what they should be, intervals know their answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from simulated import evidence
from sklearn import metrics as reference

from trunkline.evaluation.bootstrap import Spread, draw_rows, draw_seeds, replicate, together
from trunkline.tasks import KINDS
from trunkline.tasks.metrics import Panel

Array = np.ndarray[Any, Any]


@st.composite
def drawn_rows(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Few rows with many ties: a class or number, three scores, and how often each row was drawn."""
    rows = draw(st.integers(1, 25))

    def column(low: int, high: int) -> Array:
        return np.array(draw(st.lists(st.integers(low, high), min_size=rows, max_size=rows)))

    return column(0, 2), np.stack([column(0, 8) for _ in range(3)], axis=1), column(0, 4).astype(np.uint8)


def resampled(kind: str, truth: Array, prediction: Array, counts: Array) -> dict[str, float]:
    task = KINDS[kind].model_validate({"kind": kind, "target": "y"})
    prepared = task.resampled(truth, prediction, {})
    values = Panel(list(prepared.values()))(counts[None])[:, 0]
    repeated = task.scores(np.repeat(truth, counts), np.repeat(prediction, counts, axis=0), {})
    assert values == pytest.approx(list(repeated.values()), abs=1e-12, nan_ok=True)
    return dict(zip(prepared, values.tolist(), strict=True))


@given(drawn_rows())
@settings(max_examples=150, deadline=None)
def test_drawn_rows_score_as_the_same_rows_repeated_and_as_weights_in_scikit_learn_yes_or_no(
    world: tuple[Array, Array, Array],
) -> None:
    truth, scores, counts = world
    truth, probability = np.minimum(truth, 1).astype(np.float64), scores[:, 0] / 8
    assume(counts.any())
    found = resampled("binary", truth, probability[:, None], counts)
    if 0 < truth @ counts < counts.sum():
        auc = reference.roc_auc_score(truth, probability, sample_weight=counts)
        assert found["roc_auc"] == pytest.approx(auc, abs=1e-12)
        precision = reference.average_precision_score(truth, probability, sample_weight=counts)
        assert found["average_precision"] == pytest.approx(precision, abs=1e-12)
    else:
        assert math.isnan(found["roc_auc"]) and math.isnan(found["average_precision"])
    brier = reference.mean_squared_error(truth, probability, sample_weight=counts)
    assert found["brier"] == pytest.approx(brier, abs=1e-12)


@given(drawn_rows())
@settings(max_examples=150, deadline=None)
def test_drawn_rows_score_as_the_same_rows_repeated_and_as_weights_in_scikit_learn_classes(
    world: tuple[Array, Array, Array],
) -> None:
    truth, scores, counts = world
    probability = (scores + 1) / (scores + 1).sum(axis=1, keepdims=True)
    assume(counts.any())
    found = resampled("multiclass", truth.astype(np.float64), probability, counts)
    chosen = probability.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, chosen, sample_weight=counts), abs=1e-12)
    f1 = reference.f1_score(truth, chosen, labels=[0, 1, 2], average="macro", sample_weight=counts, zero_division=0)
    assert found["f1_macro"] == pytest.approx(f1, abs=1e-12)
    likely = reference.log_loss(truth, probability, labels=[0, 1, 2], sample_weight=counts)
    assert found["log_loss"] == pytest.approx(likely, abs=1e-12)


@given(drawn_rows(), st.sampled_from([0.0, 1e6]))
@settings(max_examples=150, deadline=None)
def test_drawn_rows_score_as_the_same_rows_repeated_and_as_weights_in_scikit_learn_numbers(
    world: tuple[Array, Array, Array], far: float
) -> None:
    truth, scores, counts = world
    assume(counts.any())
    labels = truth + far
    found = resampled("regression", labels, scores[:, :1] + far, counts)
    if len(set(truth[counts > 0])) > 1:
        r2 = reference.r2_score(labels, scores[:, 0] + far, sample_weight=counts)
        assert found["r2"] == pytest.approx(r2, rel=1e-9)
    else:
        assert math.isnan(found["r2"])


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_rows_drawn_once_each_score_as_reported(kind: str) -> None:
    known = evidence(kind, rows=3000)
    found = known.task.resampled(known.labels, known.shared[0], known.state)
    assert set(found) == set(known.task.metrics)
    once = Panel(list(found.values()))(np.ones((1, 3000), dtype=np.uint8))[:, 0]
    reported = known.task.scores(known.labels, known.shared[0], known.state)
    assert once == pytest.approx([reported[metric] for metric in found], abs=1e-12)


# --- draws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [np.arange(50), np.arange(50) // 5])
def test_draws_do_not_depend_on_how_many_are_made_at_once(units: Array) -> None:
    whole, *more = [np.concatenate(list(draw_rows(units, 20, seed=1, block=block))) for block in (20, 1, 7, None)]
    assert all((part == whole).all() for part in more)
    assert (whole != np.concatenate(list(draw_rows(units, 20, seed=2)))).any()
    assert (np.concatenate(list(draw_rows(units, 5, seed=1))) == whole[:5]).all()


def test_a_draw_takes_as_many_units_as_there_are_each_with_all_its_rows() -> None:
    units = np.array([7, 7, 3, 3, 3, 9])
    counts = np.concatenate(list(draw_rows(units, 200, seed=0)))
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 2] == counts[:, 4]).all()
    assert (counts[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert counts[:, 5].mean() == pytest.approx(1, abs=0.2)


def test_trainings_are_drawn_in_pairs_and_weigh_one_together() -> None:
    weights = draw_seeds(5, 1000, seed=0)
    assert weights.sum(axis=1) == pytest.approx(np.ones(1000))
    assert weights.mean(axis=0) == pytest.approx(np.full(5, 0.2), abs=0.02)
    known = evidence("binary", rows=200)
    drawn = replicate(replace(known, alone=known.shared), np.arange(200), 200, seed=0)
    assert (drawn.shared["roc_auc"] == drawn.alone["roc_auc"]).all()


def test_metrics_that_decide_have_all_draws_and_the_others_the_first() -> None:
    known = evidence("binary", rows=100)
    drawn = replicate(known, np.arange(100), 450, seed=0)
    assert drawn.shared["roc_auc"].shape == (450, 5)
    assert drawn.shared["brier"].shape == drawn.alone["log_loss"].shape == (400, 5)
    assert {metric: len(values) for metric, values in drawn.exported.items()} == dict.fromkeys(known.task.metrics, 450)
    assert drawn.constant.shape == (400,)
    assert drawn.exported["brier"][:400] == pytest.approx(drawn.shared["brier"][:, 0])


# --- intervals --------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    known = evidence(rows=2000, seeds=1, primary="mae")
    errors = np.abs(known.labels - known.shared[0, :, 0])
    found = replicate(known, np.arange(2000), 2000, seed=0).of_exported("mae").interval()
    reach = 1.96 * errors.std() / math.sqrt(2000)
    assert found == pytest.approx([errors.mean() - reach, errors.mean() + reach], abs=0.1 * reach)


def test_without_row_noise_the_interval_is_that_of_the_t_test() -> None:
    gains = np.array([0.01, 0.03, 0.02, 0.05, 0.04])
    values = np.broadcast_to(gains, (4000, 5))
    spread = Spread(values.mean(axis=1), (values * draw_seeds(5, 4000, seed=0)).sum(axis=1), 5)
    reach = 2.776 * gains.std(ddof=1) / math.sqrt(5)
    assert spread.interval() == pytest.approx([0.03 - reach, 0.03 + reach], abs=0.1 * reach)
    assert spread.row_deviation() == pytest.approx(0)


def test_copies_of_a_row_are_one_witness_where_they_are_one_group() -> None:
    base = evidence("binary", rows=300)
    copied = replace(
        base,
        labels=np.repeat(base.labels, 4),
        shared=np.repeat(base.shared, 4, axis=1),
        alone=np.repeat(base.alone, 4, axis=1),
    )

    def width(units: Array) -> float:
        low, high = replicate(copied, units, 400, seed=0).of_exported("roc_auc").interval() or (0, 0)
        return high - low

    by_row, by_group = width(np.arange(1200)), width(np.arange(1200) // 4)
    low, high = replicate(base, np.arange(300), 400, seed=0).of_exported("roc_auc").interval() or (0, 0)
    assert by_group == pytest.approx(high - low, rel=0.15)
    assert by_row == pytest.approx(by_group / 2, rel=0.15)


def test_a_handful_of_groups_tells_no_interval() -> None:
    known = evidence(rows=400)
    few, enough = (replicate(known, np.arange(400) % groups, 200, 1) for groups in (9, 10))
    assert few.of_exported("r2").interval() is None
    assert few.over_seeds(few.shared["r2"] - few.alone["r2"]).interval() is None
    assert enough.of_exported("r2").interval() is not None


def test_draws_without_the_metric_are_left_out_and_counted_and_too_many_leave_no_interval() -> None:
    values = np.linspace(0, 1, 100)
    few, many = (np.where(np.arange(100) < lost, np.nan, values) for lost in (5, 6))
    assert Spread(few, few, 1).lost == 5
    assert Spread(few, few, 1).interval() is not None
    assert Spread(many, many, 1).interval() is None
    assert Spread(many, many, 1).interval_around(0.5) is None
    joint = together([Spread(few, few, 1), Spread(values, values, 1)], np.mean)
    assert joint.lost == 5


def test_an_interval_around_a_score_holds_it_also_where_drawing_rows_again_adds_to_it() -> None:
    honest = evidence("binary", rows=2000, noise=0.0)
    score = honest.task.scores(honest.labels, honest.shared[0], honest.state)["calibration_error"]
    spread = replicate(honest, np.arange(2000), 400, seed=0).of_exported("calibration_error")
    plain, around = spread.interval(), spread.interval_around(score)
    assert plain is not None and around is not None
    assert plain[0] + plain[1] > 2 * score  # what is mended
    assert around[0] < score < around[1]


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Trainings that differ a lot, judged on fresh rows: percentiles alone would hold it in some 85 of 100."""
    held = 0
    for repetition in range(60):
        known = evidence(rows=1500, noise=0.2, seed=repetition)
        drawn = replicate(known, np.arange(1500), 200, seed=repetition)
        ends = drawn.over_seeds(drawn.shared["r2"] - drawn.alone["r2"]).interval()
        assert ends is not None
        held += ends[0] <= 0 <= ends[1]
    assert held >= 54
