"""Tasks: losses, predictions and metrics with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from trunkline.errors import DataError
from trunkline.tasks import BinaryTask, MulticlassTask, RegressionTask
from trunkline.tasks._modules import Losses, Predict, loss_targets
from trunkline.tasks.binary import calibration_error
from trunkline.training.calibrate import fit_correction

BINARY = BinaryTask(kind="binary", target="y")
MULTICLASS = MulticlassTask(kind="multiclass", target="y")
REGRESSION = RegressionTask(kind="regression", target="y")
HUBER = RegressionTask(kind="regression", target="y", loss="huber")


def states() -> tuple[list[dict[str, Any]], torch.Tensor]:
    """Four tasks with their targets for six rows; every task lacks one label."""
    nan = math.nan
    yes = np.array([1, 0, 0, 0, 1, nan])
    words = np.array(["a", "b", "c", "b", None, "b"], dtype=object)
    number = np.array([1.0, 2.0, nan, 4.0, 5.0, 30.0])
    found, targets = [], []
    for task, labels in [(BINARY, yes), (MULTICLASS, words), (REGRESSION, number), (HUBER, number)]:
        state = task.fit("task", labels)
        found.append(state)
        targets.append(loss_targets(state, task.encode(labels, state)))
    return found, torch.stack(targets, dim=1)


def constant_outputs(of: list[dict[str, Any]], rows: int) -> torch.Tensor:
    return torch.tensor([bias for state in of for bias in state["bias"]]).repeat(rows, 1)


def test_the_constant_prediction_has_loss_one_in_every_task() -> None:
    of, targets = states()
    losses = Losses(of, "constant")(constant_outputs(of, 6), targets)
    assert torch.allclose(losses, torch.ones(4), atol=1e-6)


def test_a_row_without_a_label_changes_no_loss_and_no_gradient() -> None:
    of, targets = states()
    outputs = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses = Losses(of, "constant")(outputs, targets)
    losses.sum().backward()
    for task, (first, last) in enumerate(Losses(of, "constant").slices):
        unlabelled = torch.isnan(targets[:, task])
        assert unlabelled.any()
        assert (outputs.grad[unlabelled, first:last] == 0).all()
        assert (outputs.grad[~unlabelled, first:last] != 0).any()


def test_a_row_of_weight_two_counts_as_the_same_row_twice_and_no_weights_as_ones() -> None:
    of, targets = states()
    outputs = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    losses = Losses(of, "constant")
    plain, counts = losses.sums(outputs, targets)
    for weights in (torch.ones(6, 4), torch.zeros(6, 0)):
        assert torch.equal(losses.sums(outputs, targets, weights)[0], plain)
    weights = torch.ones(6, 4)
    weights[1] = 2.0
    weights[0, 2] = 0.0  # of one task only
    sums, known = losses.sums(outputs, targets, weights)
    twice = [outputs[place] for place in (0, 1, 1, 2, 3, 4, 5)], [targets[place] for place in (0, 1, 1, 2, 3, 4, 5)]
    twice[1][0] = torch.where(torch.tensor([False, False, True, False]), math.nan, twice[1][0])
    assert torch.allclose(sums, losses.sums(*(torch.stack(part) for part in twice))[0])
    assert torch.equal(known, counts)  # the mean is over rows, not over weights


def test_losses_are_torchs_own_on_the_labelled_rows() -> None:
    of, targets = states()
    outputs = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    found = Losses(of, "constant")(outputs, targets) * torch.tensor([state["constant_loss"] for state in of])
    known = [~torch.isnan(targets[:, task]) for task in range(4)]
    from torch.nn import functional as reference

    expected = [
        reference.binary_cross_entropy_with_logits(outputs[known[0], 0], targets[known[0], 0]),
        reference.cross_entropy(outputs[known[1], 1:4], targets[known[1], 1].long()),
        reference.mse_loss(outputs[known[2], 4], targets[known[2], 2]),
        reference.huber_loss(outputs[known[3], 5], targets[known[3], 3]),
    ]
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)


def test_without_normalising_a_number_counts_in_its_own_unit() -> None:
    of, targets = states()
    raw = Losses([of[2]], "off")(torch.zeros(6, 1), targets[:, 2:3])
    known = np.array([1.0, 2.0, 4.0, 5.0, 30.0])
    assert raw.item() == pytest.approx(known.var(), rel=1e-5)


def test_predictions_are_in_the_users_terms() -> None:
    of, _ = states()
    yes, words, number, _ = Predict(of, [(1.0, 0.0)] * 4)(constant_outputs(of, 1))
    assert yes.item() == pytest.approx(2 / 5)
    assert words[0].tolist() == pytest.approx([1 / 5, 3 / 5, 1 / 5])
    assert number.item() == pytest.approx(8.4)


def test_a_slope_leaves_the_constant_prediction_where_it_is() -> None:
    of, _ = states()
    yes, words, *_ = Predict(of, [(0.3, 0.0)] * 4)(constant_outputs(of, 1))
    assert yes.item() == pytest.approx(2 / 5)
    assert words[0].tolist() == pytest.approx([1 / 5, 3 / 5, 1 / 5])


def test_calibration_finds_the_slope_of_overconfident_logits_and_keeps_the_level() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(-3, 1.5, size=200_000)
    truth = (generator.random(200_000) < 1 / (1 + np.exp(-honest))).astype(float)
    state = BINARY.fit("y", truth)
    bias = state["bias"][0]
    overconfident = bias + 2.0 * (honest - bias)
    slope, shift = fit_correction(state, overconfident[:, None], truth)
    assert slope == pytest.approx(0.5, abs=0.02)

    def mean(logits: np.ndarray[Any, Any]) -> float:
        return float(np.mean(1 / (1 + np.exp(-logits))))

    assert mean(bias + slope * (overconfident - bias) + shift) == pytest.approx(mean(overconfident), rel=1e-6)


def test_calibration_does_not_take_a_calm_period_for_a_fault_of_the_model() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(-3, 1.5, size=200_000)
    state = BINARY.fit("y", (generator.random(200_000) < 1 / (1 + np.exp(-logits))).astype(float))
    calm = (generator.random(200_000) < 1 / (1 + np.exp(-(logits - 0.7)))).astype(float)
    slope, shift = fit_correction(state, logits[:, None], calm)
    assert slope == pytest.approx(1.0, abs=0.03)
    assert abs(shift) < 0.03


def test_calibration_of_several_classes_finds_the_temperature() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(100_000, 3)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (generator.random(100_000)[:, None] > shares.cumsum(axis=1)).sum(axis=1)
    state = {"kind": "multiclass", "bias": [0.0, 0.0, 0.0]}
    assert fit_correction(state, logits * 4, truth.astype(float))[0] == pytest.approx(0.25, abs=0.01)


def test_few_rows_of_a_class_leave_confidence_as_it_is() -> None:
    state = BINARY.fit("y", np.array([1.0, 0.0]))
    truth = np.array([1.0] * 49 + [0.0] * 1000)
    assert fit_correction(state, np.linspace(-1, 1, 1049)[:, None], truth) == (1.0, 0.0)


def test_binary_metrics_are_torchmetrics() -> None:
    from torchmetrics.functional import classification as reference

    generator = np.random.default_rng(0)
    probability = generator.random(4000).astype(np.float32) ** 3
    truth = (generator.random(4000) < probability).astype(int)
    found = BINARY.scores(truth, probability[:, None], BINARY.fit("y", truth.astype(float)))
    p, t = torch.from_numpy(probability), torch.from_numpy(truth)
    assert found["roc_auc"] == pytest.approx(reference.binary_auroc(p, t).item(), abs=1e-6)
    assert found["average_precision"] == pytest.approx(reference.binary_average_precision(p, t).item(), abs=1e-6)
    assert found["calibration_error"] == pytest.approx(
        reference.binary_calibration_error(p, t, n_bins=15).item(), abs=1e-6
    )


def test_metrics_of_one_class_are_missing_and_not_wrong() -> None:
    state = BINARY.fit("y", np.array([1.0, 0.0]))
    found = BINARY.scores(np.zeros(3), np.full((3, 1), 0.5), state)
    assert math.isnan(found["roc_auc"]) and math.isnan(found["average_precision"])
    assert found["brier"] == 0.25


def test_multiclass_metrics_know_their_answers() -> None:
    state = MULTICLASS.fit("y", np.array(["a", "b", "c"], dtype=object))
    prediction = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    found = MULTICLASS.scores(np.array([0.0, 1.0, 2.0]), prediction, state)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.5) + math.log(0.2)) / 3)


def test_regression_metrics_know_their_answers() -> None:
    found = REGRESSION.scores(np.array([1.0, 2.0, 3.0]), np.array([[1.0], [2.0], [6.0]]), {})
    assert found == {"r2": pytest.approx(1 - 9 / 2), "mae": 1.0, "rmse": pytest.approx(math.sqrt(3))}
    assert math.isnan(REGRESSION.scores(np.ones(3), np.ones((3, 1)), {})["r2"])


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_confidence() -> None:
    assert calibration_error(np.full(10, 0.2), np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])) == pytest.approx(0)
    assert calibration_error(np.full(10, 1.0), np.zeros(10)) == 1.0


REFUSED = [
    (BINARY, np.zeros(5), "0 positives among 5 labelled"),
    (BINARY, np.full(5, math.nan), "0 positives among 0 labelled"),
    (BINARY, np.ones(5), "5 positives among 5"),
    (MULTICLASS, np.array(["a", "a", None], dtype=object), "classes ['a']"),
    (MulticlassTask(kind="multiclass", target="y", classes=["a", "z"]), np.array(["a"], dtype=object), "class 'z'"),
    (REGRESSION, np.full(4, 3.0), "only the value 3"),
    (REGRESSION, np.full(4, math.nan), "no value"),
]


@pytest.mark.parametrize(("task", "labels", "words"), REFUSED)
def test_labels_that_teach_nothing_are_refused(task: Any, labels: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(DataError) as refused:
        task.fit("churn", labels)
    assert words in str(refused.value)
    assert "task 'churn'" in str(refused.value)
