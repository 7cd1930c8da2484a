"""Trunks that are made for hard sharing: copies that average, tokens that attend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_nets import FEATURES, HARD_TRUNKS, STATES, VOCABULARIES, demand_that_a_seed_decides, made, rows, stirred
from test_training import planted_arm, quiet
from torch import Tensor
from world import params, split_project

from trunkline import stages
from trunkline.columns.layout import Layout
from trunkline.data.encode import Encoded
from trunkline.errors import ParamsError
from trunkline.files import read_json
from trunkline.nets.declarations import read_trunk
from trunkline.nets.network import Network, narrowed, parameter_count
from trunkline.nets.sharing import HardSharing
from trunkline.nets.stack import member, stack
from trunkline.nets.trunks._ft_transformer import Attention
from trunkline.project import parse_project
from trunkline.tasks._copies import mean_prediction
from trunkline.tasks._modules import Correction, Losses, Predict
from trunkline.training.arm import load_arm, shared_arm
from trunkline.training.arm_files import weight_bytes
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.fit import Fitted, fit

every_trunk = pytest.mark.parametrize("trunk", HARD_TRUNKS, ids=lambda trunk: trunk["kind"])
HARD = {"kind": "hard"}
TABM = {"kind": "tabm", "copies": 3}
LOSS_STATES: list[dict[str, Any]] = [
    {**STATES[0], "constant_loss": 0.5},
    {**STATES[1], "constant_loss": 1.0},
    {**STATES[2], "constant_loss": 0.7, "loss": "huber", "center": 10.0, "spread": 4.0},
]


@every_trunk
def test_a_stack_says_what_its_members_say(trunk: dict[str, Any]) -> None:
    members = [stirred(made(HARD, trunk, seed), seed) for seed in range(3)]
    whole, (features, codes) = stack(members), rows(members=3)
    found = whole.combined(whole(features, codes))
    assert found.shape == (3, 7, 5)
    for place, network in enumerate(members):
        alone = network.combined(network(features[place], codes[place]))
        torch.testing.assert_close(found[place], alone, atol=1e-5, rtol=0)
        viewed = member(whole, place)
        torch.testing.assert_close(viewed.combined(viewed(features[place], codes[place])), alone, atol=1e-5, rtol=0)


@every_trunk
def test_every_parameter_learns_and_every_task_moves_the_last_shared_layer(trunk: dict[str, Any]) -> None:
    network = stirred(made(HARD, trunk))
    network(*rows(200)).square().sum().backward()
    assert [name for name, part in network.named_parameters() if part.grad is None or not part.grad.any()] == []
    for place in (0, 1, 4):
        network.zero_grad()
        network(*rows(50))[..., place].square().sum().backward()
        assert network.last_shared.weight.grad.any()
        assert network.last_shared.bias.grad.any()


@every_trunk
def test_predictions_start_at_the_constant_ones_give_or_take(trunk: dict[str, Any]) -> None:
    bias = torch.tensor([value for state in STATES for value in state["bias"]])
    network = made(HARD, trunk)
    assert (network(*rows(100)) - bias).abs().max() < 0.5


@every_trunk
def test_a_seed_decides_the_weights_and_dropout_draws_from_its_stream(trunk: dict[str, Any]) -> None:
    demand_that_a_seed_decides(HARD, trunk)


@every_trunk
def test_models_alone_may_have_as_many_parameters_as_the_shared_one(trunk: dict[str, Any]) -> None:
    declared = read_trunk(trunk)
    narrow = narrowed(60, VOCABULARIES, declared, 3)
    states = [{"outputs": 1}] * 3
    shared = parameter_count(60, VOCABULARIES, states, declared, HardSharing())["all"]
    alone = 3 * parameter_count(60, VOCABULARIES, states[:1], narrow, HardSharing())["all"]
    assert 0.9 * shared < alone <= shared


@every_trunk
@pytest.mark.parametrize("form", ["mmoe", "lora", "stem"])
def test_other_forms_over_such_a_trunk_are_refused(trunk: dict[str, Any], form: str) -> None:
    with pytest.raises(ParamsError, match=rf"sharing\.kind: {form} cannot be built over trunk\.kind: {trunk['kind']}"):
        parse_project(params(trunk=trunk, sharing={"kind": form}))


EACH_LEARNING = [
    {"kind": "mlp", "numbers": {"kind": "piecewise", "bins": 6}},
    *({**trunk, "numbers": {"kind": "periodic"}} for trunk in HARD_TRUNKS),
]


@pytest.mark.parametrize("trunk", EACH_LEARNING, ids=lambda trunk: trunk["kind"])
def test_training_is_the_same_by_seed_as_together_as_a_stack_and_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trunk: dict[str, Any]
) -> None:
    fairness = [{"kind": "demographic_parity", "task": "churn", "column": "city", "gap": 0.02, "rate": 0.5}]
    arm, train, selection = planted_arm(
        tmp_path,
        data={"key": ["id"], "sensitive": ["city"]},
        balance={"kind": "upgrad", "rows": 16},
        trunk={**trunk, "width": 16},
        **{"epochs": 2, "keep": "best", "fairness": fairness},
    )

    def fitted(folder: str, seeds: list[int], report: Callable[[str], None] = quiet) -> list[Fitted]:
        return fit(arm, train, selection, seeds, Checkpoints(tmp_path / folder, "x"), report)

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    together = fitted("together", [5, 6])
    assert weight_bytes(together[1].network) == weight_bytes(fitted("single", [6])[0].network)
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", [5, 6], stop)
    resumed = fitted("cut", [5, 6])
    assert [weight_bytes(one.network) for one in resumed] == [weight_bytes(one.network) for one in together]
    monkeypatch.setattr("trunkline.training.fit.runs_whole", lambda device: True)
    for one, other in zip(together, fitted("stack", [5, 6]), strict=True):
        for name, value in one.network.state_dict().items():
            torch.testing.assert_close(other.network.state_dict()[name], value, atol=1e-3, rtol=0)


def test_copies_are_plain_trunks_on_scaled_inputs_with_heads_of_their_own() -> None:
    network, (features, codes) = stirred(made(HARD, TABM)), rows()
    found = network(features, codes)
    assert found.shape == (3, 7, 5)
    plain = made(HARD, {"kind": "mlp"})
    kept = {name: value for name, value in network.state_dict().items() if name != "trunk.scales"}
    for copy in range(3):
        own = {name: value[copy] if name.startswith("heads.") else value for name, value in kept.items()}
        plain.load_state_dict(own)
        scaled = network.prepared(features, codes) * network.trunk.scales[copy]
        torch.testing.assert_close(found[copy], plain.head_outputs(plain.trunk(scaled)), atol=1e-5, rtol=0)


def test_copies_start_with_random_signs() -> None:
    scales = made(HARD, {"kind": "tabm"}).trunk.scales
    assert scales.shape == (8, FEATURES + 2 * 4)
    assert scales.abs().eq(1).all()
    assert 0.3 < scales.gt(0).float().mean() < 0.7


def test_the_mean_of_copies_is_that_of_their_probabilities_and_values() -> None:
    outputs = 3 * torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    predict = Predict(LOSS_STATES, [Correction()] * 3)
    of_copies = [predict(outputs[copy]) for copy in range(4)]
    found = predict(mean_prediction(LOSS_STATES, outputs))
    for task, prediction in enumerate(found):
        expected = torch.stack([of_copy[task] for of_copy in of_copies]).mean(dim=0)
        torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=1e-5)
    assert (found[0] - torch.sigmoid(outputs[..., :1].mean(dim=0))).abs().max() > 0.01  # not the mean of logits


def test_sure_copies_have_a_finite_mean() -> None:
    outputs = torch.tensor([-200.0, 200.0]).view(2, 1, 1).expand(2, 1, 5)
    assert torch.isfinite(mean_prediction(LOSS_STATES, outputs)).all()
    sure = torch.full((2, 1, 5), -200.0)
    assert mean_prediction(LOSS_STATES, sure)[0, 0] == pytest.approx(-200.0)


@pytest.mark.parametrize("members", [None, 2])
def test_the_loss_of_copies_is_the_mean_of_theirs_and_not_that_of_their_mean(members: int | None) -> None:
    chance = torch.Generator().manual_seed(0)
    front = () if members is None else (members,)
    outputs = torch.randn(*front, 3, 8, 5, generator=chance)
    targets = torch.stack([torch.randint(0, 2, (*front, 8), generator=chance).float() for _ in range(3)], dim=-1)
    targets[..., :2, 1] = torch.nan
    losses = Losses(LOSS_STATES, "constant")
    sums, counts = losses.sums(outputs, targets)
    apart = [losses.sums(outputs[..., copy, :, :], targets) for copy in range(3)]
    torch.testing.assert_close(sums, torch.stack([each for each, _ in apart]).mean(dim=0))
    assert torch.equal(counts, apart[0][1])
    of_mean, _ = losses.sums(mean_prediction(LOSS_STATES, outputs), targets)
    assert (of_mean < sums - 0.01).all()  # losses are convex


def test_copies_learn_apart_and_their_mean_is_scored(tmp_path: Path) -> None:
    project = split_project(tmp_path, 1200, trunk={**TABM, "width": 24}, training={"epochs": 2})
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    encoded = Encoded(tmp_path / "data" / "encoded", list(project.tasks))
    [network] = load_arm(tmp_path / "models" / "shared", encoded.encoder).networks
    side = encoded.side("test")
    features, codes = torch.from_numpy(np.array(side.features)), torch.from_numpy(np.array(side.codes))
    outputs = network(features, codes)
    assert outputs.shape == (3, len(side), 5)
    assert (outputs.std(dim=0).mean(dim=0) > 0.01).all()
    arm = shared_arm(project.tasks, encoded, project.trunk, project.balance, project.training)
    targets = torch.from_numpy(np.array(side.labels["churn"])).unsqueeze(-1)
    churn = Losses([arm.states["churn"]], "constant")
    mean = churn(network.combined(outputs)[:, :1], targets)
    assert mean < torch.stack([churn(outputs[copy, :, :1], targets) for copy in range(3)]).mean()
    assert read_json(tmp_path / "models" / "shared" / "run.json")["trunk"]["copies"] == 3


FT = {"kind": "ft_transformer"}


def of_inputs(network: Network) -> Tensor:
    """Return how far each task's outputs move with each prepared number, [outputs, numbers]."""
    prepared = network.prepared(*rows(20)).detach().requires_grad_()
    outputs = network.head_outputs(network.trunk(prepared))
    moved = [torch.autograd.grad(outputs[:, place].sum(), prepared, retain_graph=True)[0] for place in range(5)]
    return torch.stack([part.abs().sum(dim=0) for part in moved])


def test_a_token_is_made_of_its_own_input_alone() -> None:
    layout = Layout((0, 1, 0, 2, 2), (False, False, True, False, False))
    trunk = read_trunk({"kind": "ft_transformer", "width": 8, "depth": 1, "embedding": 2})
    network = Network(layout, VOCABULARIES, STATES, trunk, torch.Generator().manual_seed(0))
    x = torch.randn(1, 5 + 2 * 2)
    tokens = network.trunk.tokens(x)
    assert tokens.shape == (1, 3 + 2 + 3, 8)  # inputs, words, tasks
    for place, own in enumerate([0, 1, 0, 2, 2, 3, 3, 4, 4]):
        moved = x.clone()
        moved[:, place] += 1
        changed = (network.trunk.tokens(moved) != tokens).any(dim=-1)[0]
        assert changed.tolist() == [token == own for token in range(8)]


def test_every_task_reads_every_input_and_no_task_another_ones_token() -> None:
    network = stirred(made(HARD, FT))
    assert (of_inputs(network) > 0).all()
    before = network(*rows())
    with torch.no_grad():
        network.trunk.tokens.tasks[1, 0] += 1
    changed = (network(*rows()) - before).abs().amax(dim=0) > 1e-6
    assert changed.tolist() == [False, True, True, True, False]


def test_attention_is_that_of_torch() -> None:
    attention = Attention(8, 2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in (attention.ask, attention.tell, attention.take):
            part.initialise(chance)
        theirs.in_proj_weight.copy_(torch.cat([attention.ask.weight, attention.tell.weight]))
        theirs.in_proj_bias.copy_(torch.cat([attention.ask.bias, attention.tell.bias]))
        theirs.out_proj.weight.copy_(attention.take.weight)
        theirs.out_proj.bias.copy_(attention.take.bias)
        walls = torch.zeros(2, 5)
        walls[0, 3], walls[1, 0] = -torch.inf, -torch.inf
        tokens = torch.randn(6, 5, 8, generator=chance)
        expected, _ = theirs(tokens[:, -2:], tokens, tokens, attn_mask=walls, need_weights=False)
        torch.testing.assert_close(attention(tokens[:, -2:], tokens, walls), expected, atol=1e-6, rtol=1e-5)


def test_any_width_serves_any_number_of_heads() -> None:
    assert made(HARD, {**FT, "attention_heads": 5})(*rows()).shape == (7, 5)
    assert read_trunk(FT).widths == [64, 64]
