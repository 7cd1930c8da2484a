"""Counts, ordered classes, quantiles, several labels and times until an event: known answers, and the whole way."""

from __future__ import annotations

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
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds_world import PARAMS, TASKS, rows, run
from sklearn import metrics as reference
from training_labels import that_are_counted_alike
from world import write_params

from trunkline.cli.check import find_faults
from trunkline.data.rebalance import plan
from trunkline.errors import DataError, ParamsError
from trunkline.evaluation import calibration
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.files import read_json
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.in_service import outcomes
from trunkline.monitoring.new_rows import drift_of
from trunkline.monitoring.reference import read_reference
from trunkline.project import parse_project
from trunkline.serving.kept import find_kept
from trunkline.serving.predict import predict_file
from trunkline.serving.session import open_model
from trunkline.tasks import KINDS
from trunkline.tasks._modules import Correction, Losses, Predict, head_of, loss_targets
from trunkline.tasks.concordance import Concordance
from trunkline.tasks.metrics import Panel
from trunkline.tasks.survival import mean_time
from trunkline.training.calibrate import fit_correction

Array = np.ndarray[Any, Any]
NEW = ["visits", "stars", "delay", "tags", "stay"]


def task_of(name: str) -> Any:
    return KINDS[TASKS[name]["kind"]].model_validate(TASKS[name])


def texts(table: pa.Table) -> pa.Table:
    place = table.column_names.index("stars")
    return table.set_column(place, "stars", table["stars"].cast(pa.string()))


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[Any, dict[str, Any], Array]]:
    """Of each new task its declaration, its state, and its labels as they are stored."""
    table, found = texts(rows()), {}
    for name in NEW:
        task = task_of(name)
        labels = task.read(table)
        state = task.fit(name, labels)
        found[name] = (task, state, task.encode(labels, state))
    return found


def outputs_for(state: dict[str, Any], count: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(count, state["outputs"], generator=torch.Generator().manual_seed(seed))
    return torch.tensor(state["bias"]) + drawn


def predicted(state: dict[str, Any], outputs: torch.Tensor) -> Array:
    return Predict([state], [Correction()])(outputs)[0].numpy()


# --- losses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
def test_the_constant_prediction_has_loss_one(name: str, known: Any) -> None:
    _, state, labels = known[name]
    targets = loss_targets(state, labels)
    constant = torch.tensor(state["bias"]).repeat(len(labels), 1)
    loss = Losses([state], "constant")(constant, targets[:, None])
    assert loss.item() == pytest.approx(1, abs=1e-5)
    assert 0 < targets.isnan().float().mean() < 0.3
    worse = Losses([state], "constant")(outputs_for(state, len(labels)), targets[:, None])
    assert worse.item() > 1.1


@pytest.mark.parametrize("name", NEW)
def test_the_constant_prediction_is_that_of_the_training_labels(name: str, known: Any) -> None:
    task, state, _ = known[name]
    found = predicted(state, torch.tensor([state["bias"]]))
    assert found == pytest.approx(task.constant(state), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", NEW)
def test_several_members_in_one_stack_have_their_own_losses_and_weights_count(name: str, known: Any) -> None:
    _, state, labels = known[name]
    targets = loss_targets(state, labels)[:200, None]
    outputs, losses = torch.stack([outputs_for(state, 200, seed) for seed in (1, 2)]), Losses([state], "constant")
    together = losses(outputs, targets.expand(2, 200, 1))
    assert together[:, 0].tolist() == pytest.approx([losses(part, targets).item() for part in outputs], rel=1e-5)
    weights = torch.rand(200, 1, generator=torch.Generator().manual_seed(3)) * 2
    one_by_one = [losses.sums(outputs[0, [at]], targets[[at]])[0].item() for at in range(200)]
    weighted = losses.sums(outputs[0], targets, weights)[0].item()
    assert weighted == pytest.approx(float(np.dot(one_by_one, weights[:, 0].numpy())), rel=1e-4)


def raw_losses(name: str, known: Any, count: int = 300) -> tuple[Any, dict[str, Any], Array, Array, Array]:
    """Return task, state, labels, prediction and loss per row of random outputs, labelled rows only."""
    task, state, labels = known[name]
    labels = labels[~np.isnan(labels)][:count]
    outputs = outputs_for(state, len(labels))
    loss = head_of(state).loss(state)(outputs, loss_targets(state, labels))
    return task, state, labels, predicted(state, outputs), loss.numpy()


def test_the_loss_of_counts_is_the_poisson_deviance(known: Any) -> None:
    _, _, labels, prediction, loss = raw_losses("visits", known)
    assert loss.min() >= -1e-5 and (labels == 0).any()
    assert loss.mean() == pytest.approx(reference.mean_poisson_deviance(labels, prediction[:, 0]), rel=1e-5)


def test_the_loss_of_ordered_classes_is_corns_sum_over_the_classes_that_were_reached(known: Any) -> None:
    _, state, labels, prediction, loss = raw_losses("stars", known)
    logits = outputs_for(state, len(labels)).numpy().astype(np.float64)
    by_hand = np.zeros(len(labels))
    for step in range(3):  # arXiv:2111.08851, equation 6
        chance = 1 / (1 + np.exp(-logits[:, step]))
        beyond = labels > step
        by_hand -= (labels >= step) * np.where(beyond, np.log(chance), np.log(1 - chance))
    assert loss == pytest.approx(by_hand, rel=1e-4)
    assert loss == pytest.approx(-np.log(prediction[np.arange(len(labels)), labels.astype(int)]), rel=1e-3)


def test_the_loss_of_quantiles_is_the_mean_pinball_error(known: Any) -> None:
    _, state, labels, prediction, loss = raw_losses("delay", known)
    of_levels = [
        reference.mean_pinball_loss(labels, prediction[:, at], alpha=level)
        for at, level in enumerate(state["quantiles"])
    ]
    assert loss.mean() * state["spread"] == pytest.approx(np.mean(of_levels), rel=1e-5)


def test_the_loss_of_labels_is_that_of_each_by_itself_and_leaves_out_what_is_not_known(known: Any) -> None:
    task, state, _ = known["tags"]
    answers = task.read(rows())
    coded = task.encode(answers, state)
    probability = predicted(state, outputs_for(state, len(coded)))
    by_hand = []
    for at in range(3):
        own = ~np.isnan(answers[:, at])
        constant = reference.log_loss(answers[own, at], np.full(own.sum(), answers[own, at].mean()))
        by_hand.append(reference.log_loss(answers[own, at], probability[own, at].astype(np.float64)) / constant)
    found = Losses([state], "constant")(outputs_for(state, len(coded)), loss_targets(state, coded)[:, None])
    assert found.item() == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert np.isnan(coded).sum() == np.isnan(answers).all(axis=1).sum() > 0


def test_the_loss_of_times_is_that_of_logistic_hazards(known: Any) -> None:
    _, state, labels, _, loss = raw_losses("stay", known)
    cuts, hazard = np.array(state["cuts"]), 1 / (1 + np.exp(outputs_for(state, len(labels)).numpy().astype(float)))
    starts = np.concatenate([[0.0], cuts[:-1]])
    for row, label in enumerate(labels[:100].astype(np.float64)):  # arXiv:1805.00917, section 2
        time, event = abs(label), not np.signbit(label)
        through = time > cuts if event else time >= (starts + cuts) / 2
        dies = event & (starts < time) & (time <= cuts)
        by_hand = -(np.log(1 - hazard[row]) * through).sum() - (np.log(hazard[row]) * dies).sum()
        assert loss[row] == pytest.approx(by_hand, rel=1e-4, abs=1e-6)
    assert {bool(np.signbit(label)) for label in labels} == {True, False}


# --- predictions ------------------------------------------------------------------------------------------


def drawn(width: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-30, 30, width=32), min_size=width, max_size=width)


@given(drawn(5), st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_quantiles_never_cross(outputs: list[float], middle: int) -> None:
    state = {"kind": "quantile", "middle": middle, "spread": 7.3, "center": 1e4, "outputs": 5}
    assert (np.diff(predicted(state, torch.tensor([outputs]))) >= 0).all()


@given(drawn(4))
@settings(max_examples=100, deadline=None)
def test_probabilities_of_ordered_classes_add_up_to_one_and_times_are_survived_by_ever_fewer(
    outputs: list[float],
) -> None:
    words = {"classes": list("abcde"), "cuts": [1.0, 2.0, 4.0, 9.0], "bias": [0.0] * 4, "outputs": 4}
    of_classes = predicted({"kind": "ordinal", **words}, torch.tensor([outputs]))
    assert of_classes.min() >= 0 and of_classes.sum() == pytest.approx(1, abs=1e-5)
    survival = predicted({"kind": "survival", **words}, torch.tensor([outputs]))
    assert (np.diff(survival) <= 0).all() and 0 <= survival.min() <= survival.max() <= 1
    # The same head of steps: what lies beyond a class is what survives a bin.
    assert 1 - of_classes.cumsum(axis=1)[:, :-1] == pytest.approx(survival, abs=1e-5)


def test_the_mean_time_is_the_area_under_the_survival() -> None:
    constant, by_bin = mean_time(np.array([10.0, 30.0]))
    assert constant + by_bin @ [0.5, 0.1] == pytest.approx(10 * (1 + 0.5) / 2 + 20 * (0.5 + 0.1) / 2)
    assert constant + by_bin @ [1.0, 1.0] == pytest.approx(30)


@pytest.mark.parametrize("name", ["visits", "stars", "tags", "stay"])
def test_calibration_finds_the_slope_of_outputs_that_are_too_sure(name: str, known: Any) -> None:
    _, state, _ = known[name]
    generator, count, bias = np.random.default_rng(0), 20_000, np.array(state["bias"])
    true = bias + generator.normal(size=(count, 1)) * np.full(len(bias), 0.7)
    chance = 1 / (1 + np.exp(-true))
    goes_on = generator.random(chance.shape) < chance
    gone = goes_on.cumprod(axis=1).sum(axis=1)
    targets: Array = 2 * gone + (gone < len(bias))
    if name == "visits":
        targets = generator.poisson(np.exp(true[:, 0]))
    if name == "tags":
        targets = (1.0 + goes_on) @ 3.0 ** np.arange(3)
    boastful = bias + 2 * (true - bias)
    found = fit_correction(state, boastful.astype(np.float32), targets.astype(np.float32))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    moved = fit_correction(state, (boastful + 0.3).astype(np.float32), targets.astype(np.float32), "affine")
    assert moved.slope == pytest.approx(0.5, abs=0.03)
    assert np.atleast_1d(moved.shift) == pytest.approx(np.full(np.size(moved.shift), -0.15), abs=0.1)
    few = slice(0, 20)
    assert fit_correction(state, boastful[few].astype(np.float32), targets[few].astype(np.float32)) == Correction()


# --- metrics ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 4), st.integers(0, 3)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_concordance_is_that_of_all_pairs_one_by_one(world: list[tuple[int, bool, int, int]]) -> None:
    time, event, value, counts = (np.array(column) for column in zip(*[*world, (0, False, 0, 0)], strict=True))
    right = pairs = 0.0
    for first in range(len(time)):
        for other in range(len(time)):
            censored_then = time[other] == time[first] and not event[other]
            if event[first] and (time[other] > time[first] or censored_then):
                weight = counts[first] * counts[other]
                pairs += weight
                right += weight * (0.5 * (value[other] == value[first]) + (value[other] > value[first]))
    found = Concordance(time.astype(float), event.astype(bool), value.astype(float))(counts.astype(np.uint8))
    assert found == pytest.approx(right / pairs if pairs else math.nan, nan_ok=True)


@pytest.mark.parametrize("name", NEW)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 40))
@settings(max_examples=25, deadline=None)
def test_drawn_rows_score_as_the_same_rows_repeated(name: str, seed: int, count: int, known: Any) -> None:
    task, state, labels = known[name]
    generator = np.random.default_rng(seed)
    truth = generator.choice(labels[~np.isnan(labels)], count).astype(np.float64)
    prediction = predicted(state, outputs_for(state, count, seed).round()).astype(np.float64)
    counts = generator.integers(0, 4, count).astype(np.uint8)
    if not counts.any():
        return
    prepared = task.resampled(truth, prediction, state)
    values = Panel(list(prepared.values()))(counts[None])[:, 0]
    repeated = task.scores(np.repeat(truth, counts), np.repeat(prediction, counts, axis=0), state)
    assert list(prepared) == list(task.metrics) == list(repeated)
    assert values == pytest.approx(list(repeated.values()), rel=1e-7, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", NEW)
def test_the_constant_prediction_has_no_skill_and_the_truth_more(name: str, known: Any) -> None:
    task, state, labels = known[name]
    truth = labels[~np.isnan(labels)].astype(np.float64)
    constant = task.scores(truth, np.repeat(task.constant(state), len(truth), axis=0), state)
    assert task.skill(np.array(constant[task.skill_metric]), np.array(constant[task.skill_metric])) == pytest.approx(0)
    naive = {"deviance": 0, "quadratic_kappa": 0, "roc_auc_macro": 0.5, "concordance": 0.5}
    if task.primary_metric in naive:
        assert constant[task.primary_metric] == pytest.approx(naive[task.primary_metric], abs=1e-6)


def test_known_answers_of_counts_and_ordered_classes(known: Any) -> None:
    task, state, _ = known["visits"]
    truth, value = np.array([0.0, 1.0, 4.0, 2.0]), np.array([[0.5], [1.0], [3.0], [2.5]])
    found = task.scores(truth, value, state)
    assert found["deviance"] == pytest.approx(reference.d2_tweedie_score(truth, value[:, 0], power=1))
    assert found["mae"] == pytest.approx(0.5)
    better = task.skill(
        np.array(found["deviance"]), np.array(task.scores(truth, np.full((4, 1), 2.0), state)["deviance"])
    )
    by_hand = 1 - reference.mean_poisson_deviance(truth, value[:, 0]) / reference.mean_poisson_deviance(
        truth, [2.0] * 4
    )
    assert better == pytest.approx(by_hand)
    task, state, _ = known["stars"]
    probability = np.array([[0.6, 0.2, 0.1, 0.1], [0.3, 0.1, 0.2, 0.4], [0.0, 0.1, 0.2, 0.7], [0.4, 0.3, 0.2, 0.1]])
    chosen = [0, 2, 3, 1]  # the median class, not the likeliest: that of the second row is the last
    found = task.scores(np.array([0.0, 3.0, 3.0, 0.0]), probability, state)
    assert found["quadratic_kappa"] == pytest.approx(
        reference.cohen_kappa_score([0, 3, 3, 0], chosen, labels=[0, 1, 2, 3], weights="quadratic")
    )
    assert found["mae"] == 0.5
    assert math.isnan(task.scores(np.zeros(2), probability[[0, 0]], state)["quadratic_kappa"])


@pytest.mark.parametrize("name", NEW)
def test_what_was_promised_of_a_row_keeps_the_rows_time(name: str, known: Any) -> None:
    task, state, labels = known[name]
    labels = labels[:400].astype(np.float64)
    held = Evidence(
        name, task, state, labels, predicted(state, outputs_for(state, 400))[None], np.zeros((1, 400, 1)), 0
    )
    days = np.datetime64("2026-01-01", "s") + np.arange(400).astype("timedelta64[D]")
    found = calibration.analyse(held, TestRows(np.arange(400), days))
    predicted_of, came = task.promise(state, held.shared[0][held.known], labels[held.known])
    assert len(came) == len(predicted_of) and len(came) % held.known.sum() == 0
    told = np.repeat(days[held.known].astype("datetime64[M]"), len(came) // held.known.sum())[~np.isnan(came)]
    points = found["calibration_over_time"]
    assert [point["rows"] for point in points] == np.unique(told, return_counts=True)[1].tolist()
    assert sum(point["rows"] for point in found["calibration"]) == len(told)


# --- declarations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("visits", np.zeros(9), "only the value 0"),
        ("stars", np.array(["1", "2", None], dtype=object), "no training row of class '3'"),
        ("delay", np.full(4, 2.0), "only the value 2"),
        ("tags", np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), "column 'wet' has 0 positives among 2"),
        ("stay", np.array([3.0, 3.0, -9.0]), "have 2 events among 3"),
    ],
)
def test_labels_that_teach_nothing_are_refused(name: str, labels: Array, words: str) -> None:
    with pytest.raises(DataError) as refused:
        task_of(name).fit(name, labels)
    assert words in str(refused.value) and f"task '{name}'" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("stars", {"classes": ["low", "high"]}, "tasks.stars.classes"),
        ("stars", {"classes": [1, 2, "2"]}, "class '2' is there twice"),
        ("delay", {"quantiles": [0.5, 0.1]}, "must ascend and lie above 0"),
        ("delay", {"quantiles": [0.5, 1.0]}, "must ascend and lie above 0"),
        ("tags", {"labels": ["warm", "warm"]}, "column 'warm' is there twice"),
        ("tags", {"labels": ["warm", "x"]}, "tasks.tags.labels.1: column 'x' is also an input"),
        ("tags", {"labels": ["warm", "churned"]}, "tasks 'churn' and 'tags' both learn column 'churned'"),
        ("stay", {"event": "x"}, "tasks.stay.event: column 'x' is also an input"),
        ("stay", {"cuts": [30.0, 10.0]}, "must ascend and lie above 0"),
        ("visits", {"primary": "rmse"}, "choose one of deviance, mae"),
    ],
)
def test_declarations_that_mean_nothing_are_refused(name: str, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words.replace("'", ".")):
        parse_project(PARAMS | {"tasks": TASKS | {name: TASKS[name] | change}})


@pytest.mark.parametrize("name", ["visits", "delay", "tags", "stay"])
def test_a_kind_without_interval_or_set_is_asked_for_none(name: str) -> None:
    with pytest.raises(ParamsError, match="has neither interval nor set"):
        parse_project(PARAMS | {"calibration": {"coverage": {name: 0.9}}})


def test_what_labels_hold_is_summed_up_for_the_draws() -> None:
    table = texts(rows())
    found = {name: plan(task_of(name), *(table[column] for column in task_of(name).label_columns)) for name in NEW}
    assert list(found["stars"]["classes"]) == ["1", "2", "3", "4"]
    assert found["visits"]["prior"]["mean"] == pytest.approx(pc.mean(table["visits"]).as_py())
    assert found["tags"]["prior"]["wet"] == pytest.approx(pc.mean(table["wet"]).as_py())
    assert 0.3 < found["stay"]["prior"]["events"] < 0.9
    assert 0 < found["stay"]["rows"] < table.num_rows


# --- the whole way ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    run(root)
    return root


@pytest.fixture(scope="module")
def found(finished: Path) -> tuple[dict[str, Array], Any]:
    """Outputs of the file for the test rows, as somebody gets them who knows only the contract, and the rows."""
    table = pq.read_table(finished / "data/split/rows.parquet")
    test = table.filter(pc.equal(table["side"], "test")).to_pandas()
    session = onnxruntime.InferenceSession((finished / "models/export/model.onnx").read_bytes())
    feeds = {"x": test["x"].to_numpy()[:, None], "city": test["city"].to_numpy(dtype=object)[:, None]}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True)), test


def test_every_kind_starts_at_the_loss_of_its_constant_and_learns_something(finished: Path) -> None:
    for seed in read_json(finished / "models/shared/run.json")["seeds"]:
        assert all(0.9 < loss < 1.1 for loss in seed["start_losses"].values())
    tasks = read_json(finished / "reports/evaluation.json")["tasks"]
    assert all(tasks[name]["skill"]["exported"] > 0.02 for name in TASKS)
    assert {name: tasks[name]["primary"] for name in NEW} == {
        "visits": "deviance",
        "stars": "quadratic_kappa",
        "delay": "pinball",
        "tags": "roc_auc_macro",
        "stay": "concordance",
    }
    assert read_json(finished / "models/shared/calibration.json")["uncorrected"].keys() == {"delay"}


def test_an_outsider_recomputes_the_reported_scores_from_the_file(finished: Path, found: Any) -> None:
    outputs, test = found
    reported = {
        name: task["exported"] for name, task in read_json(finished / "reports/evaluation.json")["tasks"].items()
    }

    def labelled(*names: str) -> Array:
        return test[list(names)].notna().all(axis=1).to_numpy()

    own = labelled("visits")
    truth, value = test["visits"][own], outputs["visits.value"][own, 0]
    assert reference.d2_tweedie_score(truth, value, power=1) == pytest.approx(reported["visits"]["deviance"], abs=1e-4)
    own = labelled("stars")
    kappa = reference.cohen_kappa_score(test["stars"][own], outputs["stars.label"][own, 0], weights="quadratic")
    assert kappa == pytest.approx(reported["stars"]["quadratic_kappa"], abs=1e-4)
    own = labelled("delay")
    pinball = [
        reference.mean_pinball_loss(test["delay"][own], outputs["delay.quantiles"][own, at], alpha=level)
        for at, level in enumerate((0.1, 0.5, 0.9))
    ]
    assert np.mean(pinball) == pytest.approx(reported["delay"]["pinball"], rel=1e-4)
    error = reference.mean_absolute_error(test["delay"][own], outputs["delay.value"][own, 0])
    assert error == pytest.approx(reported["delay"]["mae"], rel=1e-4)
    areas = []
    for at, label in enumerate(("warm", "wet", "rare")):
        own = labelled(label)
        areas.append(reference.roc_auc_score(test[label][own].astype(int), outputs["tags.probability"][own, at]))
    assert np.mean(areas) == pytest.approx(reported["tags"]["roc_auc_macro"], abs=1e-4)
    own = labelled("days", "left")
    pairs = Concordance(test["days"][own].to_numpy(), test["left"][own].to_numpy(bool), outputs["stay.value"][own, 0])
    assert pairs(np.ones(own.sum(), dtype=np.uint8)) == pytest.approx(reported["stay"]["concordance"], abs=1e-3)


def test_the_file_keeps_every_promise_of_form(found: Any) -> None:
    outputs, _ = found
    assert (outputs["visits.value"] > 0).all()
    assert outputs["stars.probability"].sum(axis=1) == pytest.approx(np.ones(len(outputs["stars.label"])), abs=1e-5)
    place = (outputs["stars.probability"].cumsum(axis=1)[:, :-1] < 0.5).sum(axis=1)
    assert (outputs["stars.label"][:, 0] == np.array(["1", "2", "3", "4"])[place]).all()
    assert (np.diff(outputs["delay.quantiles"], axis=1) >= 0).all()
    assert (outputs["delay.value"] == outputs["delay.quantiles"][:, 1:2]).all()
    assert (np.diff(outputs["stay.survival"], axis=1) <= 0).all()
    assert outputs["tags.probability"].shape[1] == 3


def test_predictions_have_a_column_for_every_class_quantile_label_and_bin(finished: Path, tmp_path: Path) -> None:
    model, target = finished / "models/export/model.onnx", tmp_path / "predicted.parquet"
    opened = open_model(model)  # runs the golden rows
    predict_file(model, finished / "models/export/sample.parquet", target)
    names = pq.read_table(target).column_names
    bins = next(part.classes for part in opened.parts if part.name == "stay.survival")
    assert names == [
        "id",
        "churn.probability",
        "visits.value",
        *(f"stars.probability.{word}" for word in "1234"),
        *(f"delay.quantiles.{level}" for level in ("0.1", "0.5", "0.9")),
        *(f"tags.probability.{label}" for label in ("warm", "wet", "rare")),
        *(f"stay.survival.{end}" for end in bins),
        "delay.value",
        "stay.value",
        "stars.label",
        "rejected",
    ]
    assert len(set(bins)) == 6


def test_report_and_card_say_what_each_kind_gives(finished: Path) -> None:
    page = (finished / "reports/report.html").read_text()
    for words in (
        "a count the expected one",
        "quantiles the share of labels at or below each",
        "Poisson deviance that the prediction explains",
    ):
        assert words in page
    analysis = read_json(finished / "reports/analysis.json")["tasks"]
    assert all(analysis[name]["calibration"] and analysis[name]["histogram"] for name in TASKS)
    assert [point["predicted"] for point in analysis["delay"]["calibration"]] == pytest.approx([0.1, 0.5, 0.9])
    gaps = {
        name: set(task["gaps"])
        for name, task in read_json(finished / "reports/analysis.json")["fairness"]["city"].items()
    }
    assert gaps["visits"] == {"bias", "mae"} and gaps["stay"] == {"calibration"}
    assert gaps["delay"] == {"below.0.1", "below.0.5", "below.0.9", "mae"}
    assert gaps["tags"] == {f"calibration.{label}" for label in ("warm", "wet", "rare")}
    assert gaps["stars"] == {"accuracy", *(f"selection_rate.{word}" for word in "1234")}
    card = (finished / "models/export/MODEL_CARD.md").read_text()
    assert "`stay.value` | expected time until stay or the end of the last bin, whichever comes first, in days" in card


def test_check_names_the_label_column_that_no_file_holds(tmp_path: Path) -> None:
    write_params(tmp_path, PARAMS)
    (tmp_path / "data/incoming").mkdir(parents=True)
    pq.write_table(rows(50).drop_columns(["wet", "left"]), tmp_path / "data/incoming/all.parquet")
    said = "\n".join(finding.message for finding in find_faults(tmp_path))
    assert "tasks.tags.labels.1: no file in data/incoming/ holds column 'wet'" in said
    assert "tasks.stay.event: no file in data/incoming/ holds column 'left'" in said


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("visits", [1.5], "visits"),
        ("visits", [-1.0], "visits"),
        ("stars", [9], "stars"),
        ("days", [-2.0], "days"),
    ],
)
def test_labels_that_a_kind_cannot_have_are_refused_before_anything_is_learned(
    tmp_path: Path, column: str, values: list[Any], words: str
) -> None:
    table = rows(300)
    place = table.column_names.index(column)
    changed = pa.array([*values, *table[column].to_pylist()[1:]])
    with pytest.raises(DataError, match=words):
        run(tmp_path, table.set_column(place, column, changed), upto="validate")
    refused = read_json(tmp_path / "reports/validation.json")
    assert not refused["passed"]


# --- behind the training ----------------------------------------------------------------------------------


def test_every_label_of_several_is_followed_and_drift_in_one_is_found_there(finished: Path) -> None:
    labels = {f"tags.{label}" for label in TASKS["tags"]["labels"]}
    assert that_are_counted_alike(finished) == {"churn", "visits", "stars", *labels}
    model = open_model(finished / "models/export/model.onnx")
    held, watch = read_reference(model.path, model.card), DriftWatch(psi=0.3, l_infinity=0.1, jensen_shannon=0.3)

    def drifted(table: pa.Table) -> set[tuple[str, str]]:
        found = drift_of(model, held, [table], [], watch, 1)["found"]
        assert {(of, name) for name in labels for of in ("label", "prediction")} <= {
            (each["of"], each["name"]) for each in found
        }
        return {(each["of"], each["name"]) for each in found if each["drifted"]}

    new = texts(rows(900, seed=7))
    assert drifted(new) == set()
    place = new.column_names.index("wet")
    assert drifted(new.set_column(place, "wet", pa.array([True] * 900))) == {("label", "tags.wet")}
    dry = new.set_column(new.column_names.index("x"), "x", pc.add(new["x"], 4.0))
    assert drifted(dry) >= {("column", "x"), ("prediction", "tags.wet"), ("prediction", "tags.warm")}


def test_every_label_of_several_is_scored_in_service_and_has_its_floor(finished: Path, tmp_path: Path) -> None:
    new = texts(rows(900, seed=7))
    pq.write_table(new, tmp_path / "new.parquet")
    kept = tmp_path / "kept"
    predict_file(finished / "models/export/model.onnx", tmp_path / "new.parquet", tmp_path / "out.parquet", keep=kept)
    project = parse_project(PARAMS | {"drift": {"floors": {"tags.warm": 0.99}}})
    found = outcomes(find_kept(kept), new, ["id"], project, 1, "new.parquet")
    of_tasks, out = found["drops"][0]["tasks"], pq.read_table(tmp_path / "out.parquet")
    for label in TASKS["tags"]["labels"]:
        known = new[label].is_valid().to_numpy()
        truth, said = new[label].to_pandas()[known].astype(int), out[f"tags.probability.{label}"].to_numpy()[known]
        assert of_tasks[f"tags.{label}"]["score"]["value"] == pytest.approx(reference.roc_auc_score(truth, said))
    assert any(line.startswith("task 'tags.warm': roc_auc") and "below its floor" in line for line in found["says"])
    with pytest.raises(ParamsError, match=r"drift\.floors: 'delay' is no task that is followed in service, which are"):
        parse_project(PARAMS | {"drift": {"floors": {"delay": 1.0}}})
