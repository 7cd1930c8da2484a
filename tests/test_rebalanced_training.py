"""Rebalanced training on worlds whose probabilities are known: what a rule shifts is gone from what the model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter
from world import split_project

from trunkline import stages
from trunkline.balance import EqualWeights
from trunkline.data.encode import Encoded
from trunkline.data.rebalance import Rule, plan
from trunkline.export.graph import Model, build_graph
from trunkline.export.parity import boundary_feeds, check_parity
from trunkline.files import read_json, sha256
from trunkline.nets.declarations import MLPTrunk
from trunkline.tasks import KINDS
from trunkline.tasks._focal import FocalInverse
from trunkline.tasks._modules import Losses, Predict
from trunkline.training.arm import Trained, load_arm
from trunkline.training.batches import Rows
from trunkline.training.calibrate import fit_correction
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.fit import Arm, Fitted, fit
from trunkline.training.forward import network_outputs
from trunkline.training.rebalanced import RowDraws, loss_states, network_states, row_weights

Array = np.ndarray[Any, Any]
COUNT = 8_000
EFFECTS = {"binary": [[0, 0], [2.0, -1.0]], "multiclass": [[0, 0], [1.5, 0.5], [-1.0, 2.0]]}
LEVELS = {"binary": [0, -4.5], "multiclass": [0, -2.5, -4.5]}
WORDS = {"binary": ["false", "true"], "multiclass": ["a", "b", "c"]}
TRAINING = Training(seeds=1, epochs=6, batch=256, learning_rate=0.01, weight_decay=0, device="cpu")
SHIFTING: list[dict[str, Any]] = [
    {"kind": "class_weights"},
    {"kind": "class_weights", "power": 0.5},
    {"kind": "effective_number", "beta": 0.9999},
    {"kind": "logit_adjustment"},
    {"kind": "logit_adjustment", "tau": 0.5},
    {"kind": "undersample", "ratio": 0.3},
    {"kind": "oversample", "ratio": 0.6},
]


def world(kind: str, seed: int, count: int = COUNT) -> tuple[Array, Array, Array]:
    """Return inputs, probabilities of the classes and labels of rows whose rarest class is in about 3 of 100."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(count, 2)).astype(np.float32)
    logits = inputs @ np.array(EFFECTS[kind]).T + LEVELS[kind]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    places = (draw.random((count, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return inputs, probabilities, places.astype(np.float64)


def rule_of(declared: dict[str, Any]) -> Rule:
    rule: Rule = TypeAdapter(Rule).validate_python(declared)
    return rule


def arm_of(kind: str, places: Array, declared: dict[str, Any], training: Training = TRAINING) -> Arm:
    task = KINDS[kind].model_validate({"kind": kind, "target": "y"})
    words = [WORDS[kind][int(place)] for place in places]
    labels = pa.array([word == "true" for word in words] if kind == "binary" else words)
    state = task.fit("y", places if kind == "binary" else np.array(words, dtype=object))
    plans = {"y": json.loads(json.dumps(plan(task, labels, rule=rule_of(declared))))}
    plans = {name: held for name, held in plans.items() if "rule" in held}
    states = network_states({"y": state}, plans)
    trunk = MLPTrunk(width=16, depth=1, dropout=0.0)
    return Arm("alone/y", states, {"y": 1.0}, 2, [], trunk, EqualWeights(), training, plans=plans)


def rows_of(arm: Arm, inputs: Array, places: Array) -> Rows:
    nothing = torch.zeros(len(inputs), 0, dtype=torch.int32)
    weights = row_weights(arm.states, arm.plans, {"y": places.astype(np.float32)})
    return Rows(inputs, nothing.numpy(), torch.from_numpy(places).float()[:, None], nothing, weights)


def trained(arm: Arm, inputs: Array, places: Array, folder: Path, seeds: tuple[int, ...] = (3,)) -> list[Fitted]:
    rows = rows_of(arm, inputs, places)
    few = rows.subset(np.arange(100))._replace(weights=torch.zeros(100, 0))
    return fit(arm, rows, few, seeds, Checkpoints(folder, "x"), lambda line: None)


def said(arm: Arm, outputs: torch.Tensor) -> Array:
    """Return the probabilities of all classes, float64 [rows, classes]."""
    found = Predict(list(arm.states.values()), [fit_correction(arm.states["y"], np.zeros((1, 1)), np.full(1, np.nan))])
    probability = found(outputs)[0].double().numpy()
    return np.hstack([1 - probability, probability]) if probability.shape[1] == 1 else probability


def divergence(truth: Array, found: Array) -> float:
    """Return how far the expected log loss lies above that of the true probabilities."""
    return float((truth * np.log(truth / found)).sum(axis=1).mean())


def as_the_loss_saw_them(arm: Arm, outputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs without the inverse: those of the world that the rule makes."""
    held = arm.plans["y"]["prior_shift"]
    shift = [held[word] for word in WORDS["multiclass"]] if len(held) > 2 else [held["true"] - held["false"]]
    return outputs + torch.tensor(shift)


@pytest.mark.parametrize(
    ("kind", "declared"),
    [*(("binary", rule) for rule in SHIFTING), *(("multiclass", rule) for rule in SHIFTING[::3])],
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part.values())),
)
def test_probabilities_are_those_of_the_rows_as_they_are_and_would_not_be_without_the_inverse(
    kind: str, declared: dict[str, Any], tmp_path: Path
) -> None:
    inputs, _, places = world(kind, 1)
    arm = arm_of(kind, places, declared)
    fitted = trained(arm, inputs, places, tmp_path)[0]
    assert fitted.start_losses["y"] == pytest.approx(1.0, abs=0.05)  # of the best constant under the same rule
    fresh, truth, _ = world(kind, 2)
    outputs = network_outputs(fitted.network, fresh, np.zeros((len(fresh), 0), np.int32))
    found, shifted = said(arm, outputs), said(arm, as_the_loss_saw_them(arm, outputs))
    prior = truth.mean(axis=0)
    constant = divergence(truth, np.broadcast_to(prior, truth.shape))
    rarest = prior.argmin()
    assert found[:, rarest].mean() / prior[rarest] == pytest.approx(1.0, abs=0.25)
    assert divergence(truth, found) < 0.08 * constant
    assert not 0.6 < shifted[:, rarest].mean() / prior[rarest] < 1.6
    assert divergence(truth, shifted) > 0.15 * constant


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_what_focal_loss_does_to_confidences_is_undone_without_calibration(kind: str, tmp_path: Path) -> None:
    inputs, _, places = world(kind, 1)
    arm = arm_of(kind, places, {"kind": "focal", **({"alpha": 0.25} if kind == "binary" else {})})
    fitted = trained(arm, inputs, places, tmp_path)[0]
    assert fitted.start_losses["y"] == pytest.approx(1.0, abs=0.05)
    fresh, truth, labels = world(kind, 2)
    outputs = network_outputs(fitted.network, fresh, np.zeros((len(fresh), 0), np.int32))
    assert fit_correction(arm.states["y"], outputs.numpy(), labels).slope == pytest.approx(1.0, abs=0.15)
    constant = divergence(truth, np.broadcast_to(truth.mean(axis=0), truth.shape))
    assert divergence(truth, said(arm, outputs)) < 0.08 * constant
    with torch.inference_mode():
        raw = fitted.network(torch.from_numpy(fresh), torch.zeros(len(fresh), 0, dtype=torch.int64))
    sloped = fit_correction(arm.states["y"], raw.numpy(), labels)
    assert sloped.slope > 1.1  # as the loss left them, confidences are too close together
    assert divergence(truth, said(arm, outputs)) < 0.5 * divergence(truth, said(arm, raw))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.4, 3.0], [0.5, 1.0, 4.0]])
def test_the_shares_of_the_classes_come_back_from_where_their_focal_loss_is_least(
    gamma: float, weights: list[float]
) -> None:
    """The minimum is looked for by numbers alone: Newton's steps on the expected loss of each row's logits."""
    classes, several = len(weights), len(weights) > 2
    shares = torch.from_numpy(np.random.default_rng(1).dirichlet([0.7] * classes, 40)).double().clamp(1e-3, 1)
    shares = shares / shares.sum(dim=1, keepdim=True)
    free, counting = torch.zeros(40, classes - 1, dtype=torch.double, requires_grad=True), torch.tensor(weights)
    minimiser = torch.optim.LBFGS([free], lr=1, max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-16,
                                  history_size=50, line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> torch.Tensor:
        minimiser.zero_grad()
        logs = torch.cat([torch.zeros(40, 1), free], dim=1).log_softmax(dim=1)
        expected = -(shares * counting * (-torch.expm1(logs)) ** gamma * logs).sum()
        expected.backward()
        return expected

    minimiser.step(loss)
    shift = [0.3, -0.2, 0.1][:classes] if several else [0.5]
    logs = [np.log(weight) for weight in weights] if several else [np.log(weights[1] / weights[0])]
    held = {"outputs": len(shift), "focal": {"gamma": gamma, "shift": shift, "weights": logs}}
    seen = torch.cat([torch.zeros(40, 1), free.detach()], dim=1) if several else free.detach()
    other = torch.full((40, 1), 7.0, dtype=torch.double)
    inverse = FocalInverse([{"outputs": 1}, held, {"outputs": 1}])
    first, *logits, last = inverse(torch.cat([other, seen - torch.tensor(shift), other], dim=1)).split(1, dim=1)
    assert torch.equal(first, other) and torch.equal(last, other)
    found = torch.cat(logits if several else [torch.zeros(40, 1), *logits], dim=1).softmax(dim=1)
    assert torch.allclose(found, shares, atol=2e-5)
    assert gamma < 1 or not torch.allclose(
        seen.softmax(dim=1) if several else seen.sigmoid(), shares[:, -1:], atol=0.02
    )


@pytest.mark.parametrize("classes", [1, 3])
def test_the_inverse_of_focal_loss_is_finite_and_keeps_order_however_sure_a_head_is(classes: int) -> None:
    held = {"outputs": classes, "focal": {"gamma": 10.0, "shift": [0.0] * classes, "weights": [0.0] * classes}}
    logits = torch.linspace(-200, 200, 801)[:, None] * torch.eye(classes)[0]
    found = FocalInverse([held])(logits)
    assert torch.isfinite(found).all()
    chance = found.sigmoid() if classes == 1 else found.softmax(dim=1)
    assert (chance[:, 0].diff() >= -1e-6).all()
    assert (chance[0, 0], chance[-1, 0]) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))


def test_logit_adjustment_without_decay_is_the_start_at_the_prior_that_every_head_has(tmp_path: Path) -> None:
    inputs, _, places = world("multiclass", 1, 2000)
    found = []
    for declared in ({"kind": "equal"}, {"kind": "logit_adjustment", "tau": 2.0}):
        arm = arm_of("multiclass", places, declared)
        network = trained(arm, inputs, places, tmp_path / declared["kind"])[0].network
        found.append(network_outputs(network, inputs, np.zeros((len(inputs), 0), np.int32)))
    assert torch.allclose(*found, atol=2e-3)
    assert not torch.equal(*found)


def test_losses_under_a_rule_are_those_of_the_formula() -> None:
    places = np.array([0.0] * 6 + [1.0] * 2)
    arm = arm_of("binary", places, {"kind": "focal", "gamma": 2.0, "alpha": 0.75})
    held, outputs = arm.plans["y"], torch.linspace(-2, 2, 8)[:, None].double()
    weights = row_weights(arm.states, arm.plans, {"y": places.astype(np.float32)}).double()
    losses = Losses(loss_states(arm.states, arm.plans), "constant").double()
    seen = outputs[:, 0] + held["prior_shift"]["true"] - held["prior_shift"]["false"]
    yes = torch.from_numpy(places) == 1
    p = torch.sigmoid(torch.where(yes, seen, -seen))
    by_hand = torch.where(yes, 0.75, 0.25) * (1 - p) ** 2 * -torch.log(p)
    expected = by_hand.sum() / (0.75 * 2 + 0.25 * 6) / held["constant_loss"]
    found = losses(outputs, torch.from_numpy(places)[:, None], weights)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["undersample", "oversample"])
def test_a_draw_leaves_out_or_repeats_whole_rows_and_comes_again_with_seed_and_epoch(kind: str) -> None:
    places = np.repeat([0.0, 1.0], [900, 100])
    arm = arm_of("binary", places, {"kind": kind, "ratio": 0.25})
    rows = rows_of(arm, np.zeros((1000, 2), np.float32), places)
    unit = arm.plans["y"]["unit"]

    def drawn(epoch: int, seeds: list[int]) -> torch.Tensor:
        return RowDraws(arm.states, arm.plans, seeds).of_epoch(epoch)(rows.weights.repeat(len(seeds), 1, 1))

    times = drawn(0, [1, 2])[..., 0] / unit
    assert torch.allclose(times, times.round(), atol=1e-5)
    wanted = {"undersample": (400, 100), "oversample": (900, 225)}[kind]  # four of the common to one of the rare
    sums = times[:, :900].sum(dim=1).mean(), times[:, 900:].sum(dim=1).mean()
    assert np.allclose(sums, wanted, rtol=0.08)
    assert torch.equal(drawn(0, [2])[0], drawn(0, [1, 2])[1])
    assert not torch.equal(drawn(1, [1]), drawn(0, [1]))


def test_rows_drawn_for_one_task_leave_what_the_others_see_as_it_was(tmp_path: Path) -> None:
    """Weights, draws and shift of one task: the alone models of the others end with the same bytes."""
    roots = [tmp_path / word for word in ("equal", "rebalanced")]
    rule = {"kind": "equal", "tasks": {"churn": {"kind": "oversample"}}}
    for root, rebalance in zip(roots, ({"kind": "equal"}, rule), strict=True):
        root.mkdir()
        project = split_project(root, 1000, rebalance=rebalance, training={"epochs": 1})
        stages.encode(root, project)
        stages.train(root, project)
        for task in ("churn", "spend"):
            stages.baseline(root, project, task)

    def same(path: str) -> bool:
        return sha256(roots[0] / path) == sha256(roots[1] / path)

    assert same("data/rebalance/spend.json") and same("data/rebalance/plan.json")
    assert not same("data/rebalance/churn.json")
    assert same("models/alone/spend/0.safetensors") and not same("models/alone/churn/0.safetensors")
    assert not same("models/shared/0.safetensors")
    told = read_json(roots[1] / "models/shared/run.json")["rebalance"]
    assert list(told) == ["churn"] and told["churn"]["rule"] == {"kind": "oversample", "ratio": 1.0}
    assert "rebalance" not in read_json(roots[0] / "models/shared/run.json")


def test_a_rare_number_counts_more_and_its_head_starts_at_the_weighted_mean(tmp_path: Path) -> None:
    rule = {"kind": "equal", "tasks": {"spend": {"kind": "density", "power": 1.0, "cap": 5.0}}}
    project = split_project(tmp_path, 1000, rebalance=rule, training={"epochs": 3})
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    run = read_json(tmp_path / "models/shared/run.json")
    assert run["seeds"][0]["start_losses"]["spend"] == pytest.approx(1.0, abs=0.05)
    held = read_json(tmp_path / "data/rebalance/spend.json")
    assert run["tasks"]["spend"]["start"] == [held["start"]]
    encoded = Encoded(tmp_path / "data/encoded", ["spend"])
    labels = encoded.side("train").labels
    weights = row_weights(encoded.states, {"spend": held}, labels)[:, 0].numpy()
    known = ~np.isnan(labels["spend"])
    assert weights[known].mean() == pytest.approx(1.0, abs=1e-5)
    assert weights[known].max() / weights[known].min() == pytest.approx(5.0, rel=1e-3)
    middle = np.quantile(labels["spend"][known], [0.4, 0.6])
    common = known & (labels["spend"] > middle[0]) & (labels["spend"] < middle[1])
    assert weights[common].max() < 1.0 < weights[labels["spend"] == labels["spend"][known].max()][0]


def test_an_adjusted_head_comes_back_with_its_prior_and_the_file_says_what_torch_says(tmp_path: Path) -> None:
    rule = {"kind": "logit_adjustment", "tasks": {"spend": {"kind": "equal"}}}
    project = split_project(tmp_path, 1000, rebalance=rule, training={"epochs": 1})
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    encoded = Encoded(tmp_path / "data/encoded", list(project.tasks))
    arm, rows = load_arm(tmp_path / "models/shared", encoded.encoder), encoded.side("test")
    outputs = network_outputs(arm.networks[0], rows.features, rows.codes)
    churn = encoded.states["churn"]
    assert float(torch.sigmoid(outputs[:, 0]).mean()) == pytest.approx(churn["prevalence"], abs=0.1)
    assert arm.networks[0].offset is not None
    assert float(arm.networks[0].offset[0]) == pytest.approx(churn["bias"][0], rel=1e-5)
    says_what_torch_says(arm, encoded)


@pytest.mark.parametrize("trunk", ["mlp", "tabm"])
def test_heads_of_focal_loss_come_back_straightened_and_the_file_says_what_torch_says(
    trunk: str, tmp_path: Path
) -> None:
    rule = {"kind": "focal", "tasks": {"spend": {"kind": "equal"}}}
    small = {"kind": trunk, "width": 16, "depth": 1}
    project = split_project(tmp_path, 1000, rebalance=rule, training={"epochs": 1, "seeds": 1}, trunk=small)
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    encoded = Encoded(tmp_path / "data/encoded", list(project.tasks))
    arm = load_arm(tmp_path / "models/shared", encoded.encoder)
    assert [name for name, state in arm.states.items() if "focal" in state] == ["churn", "plan"]
    says_what_torch_says(arm, encoded)


def says_what_torch_says(arm: Trained, encoded: Encoded) -> None:
    states, corrections = list(arm.states.values()), [arm.corrections[0][name] for name in arm.states]
    model = Model(encoded.encoder, arm.networks[0], states, corrections).eval()
    graph = build_graph(model, encoded.encoder, arm.states, {})
    real = boundary_feeds(encoded.encoder, np.random.default_rng(5), 64)
    check_parity(model, graph, encoded.encoder, arm.states, real, 0, 1)
