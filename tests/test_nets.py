"""Laws that hold for every form of sharing over every trunk, and what sets each apart."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from world import params

from trunkline.errors import ParamsError
from trunkline.nets.declarations import Sharing, Trunk, read_sharing, read_trunk
from trunkline.nets.gates import gate_report
from trunkline.nets.network import Network, fitted_sharing, parameter_count
from trunkline.nets.sharing._tapped import tapped
from trunkline.nets.stack import draw_from, member, stack
from trunkline.project import parse_project
from trunkline.training.monitoring.rules import collapsed

FEATURES, VOCABULARIES, WIDTH = 6, [5, 3], 24
STATES: list[dict[str, Any]] = [
    {"kind": "binary", "outputs": 1, "bias": [0.5]},
    {"kind": "multiclass", "outputs": 3, "bias": [0.0, 1.0, 2.0]},
    {"kind": "regression", "outputs": 1, "bias": [-1.0]},
]
OF_TASK = [slice(0, 1), slice(1, 4), slice(4, 5)]


def kinds(union: Any) -> list[dict[str, Any]]:
    """Return the smallest declaration of each kind in a union."""
    return [{"kind": get_args(kind.model_fields["kind"].annotation)[0]} for kind in get_args(get_args(union)[0])]


FORMS = kinds(Sharing)
TRUNKS = [trunk for trunk in kinds(Trunk) if read_trunk(trunk).forms is None]
HARD_TRUNKS = [trunk for trunk in kinds(Trunk) if read_trunk(trunk).forms == ("hard",)]
# Settings that change shapes inside; beyond the defaults.
OTHERS = [
    {"kind": "mmoe", "experts": 3, "gate_dropout": 0.3},
    {"kind": "cgc", "shared_experts": 3, "own_experts": 2, "depth": 1},
    {"kind": "ple", "levels": 3, "own_experts": 2, "gate_dropout": 0.1},
    {"kind": "stem", "own_experts": 2, "shared_experts": 2},
]

every_form = pytest.mark.parametrize("form", FORMS + OTHERS, ids=lambda form: "-".join(map(str, form.values())))
every_trunk = pytest.mark.parametrize("trunk", TRUNKS, ids=lambda trunk: trunk["kind"])


def made(form: dict[str, Any], trunk: dict[str, Any], seed: int = 0, tasks: int = 3, **more: Any) -> Network:
    declared = read_trunk({"width": WIDTH, "depth": 2, "embedding": 4, "dropout": 0.2, **trunk, **more})
    generator = torch.Generator().manual_seed(seed)
    sharing = read_sharing(form)
    return Network(FEATURES, VOCABULARIES, STATES[:tasks], declared, generator, sharing).eval()


def stirred(network: Network, seed: int = 0) -> Network:
    """Return the network with weights that are nowhere zero or alike, as after some training."""
    chance = torch.Generator().manual_seed(100 + seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=chance))
    return network


def rows(count: int = 7, members: int | None = None) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(1)
    front = (count,) if members is None else (members, count)
    codes = torch.stack([torch.randint(0, size, front, generator=chance) for size in VOCABULARIES], dim=-1)
    return torch.randn(*front, FEATURES, generator=chance), codes


@every_trunk
@every_form
def test_a_stack_says_what_its_members_say(form: dict[str, Any], trunk: dict[str, Any]) -> None:
    members = [stirred(made(form, trunk, seed), seed) for seed in range(3)]
    whole, (features, codes) = stack(members), rows(members=3)
    found = whole(features, codes)
    assert found.shape == (3, 7, 5)
    for place, network in enumerate(members):
        torch.testing.assert_close(found[place], network(features[place], codes[place]), atol=1e-5, rtol=0)
        torch.testing.assert_close(member(whole, place)(features[place], codes[place]), found[place], atol=1e-5, rtol=0)


@every_trunk
@every_form
def test_gradients_of_all_tasks_together_reach_every_parameter(form: dict[str, Any], trunk: dict[str, Any]) -> None:
    network = stirred(made(form, trunk))
    network(*rows(200)).square().sum().backward()
    still = [name for name, part in network.named_parameters() if part.grad is None or not part.grad.any()]
    assert still == []


@every_form
def test_the_last_shared_layer_is_moved_by_every_task_and_heads_by_their_own_alone(form: dict[str, Any]) -> None:
    network = stirred(made(form, TRUNKS[0]))
    read = network.trunk_output(*rows(50))
    torch.testing.assert_close(network.head_outputs(read), network(*rows(50)))
    assert read.shape == ((50, 3, network.trunk.width) if network.trunk.own else (50, network.trunk.width))
    for places in OF_TASK:
        network.zero_grad()
        network(*rows(50))[:, places].square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())  # what affinity relies on
        assert network.last_shared.weight.grad.any()
        assert network.last_shared.bias.grad.any()
        others = [place for place in range(5) if place not in range(places.start, places.stop)]
        assert not network.heads.weight.grad[others].any()
        assert network.heads.weight.grad[places].any()


@every_trunk
@every_form
def test_a_form_calls_those_weights_own_that_one_task_alone_moves(form: dict[str, Any], trunk: dict[str, Any]) -> None:
    demand_that_own_weights_are_moved_by_one_task(stirred(made(form, trunk)))


@pytest.mark.parametrize("taps", [(1, 1, 2), (1, 2, 2), (2, 1, 1)])
def test_a_tapped_trunk_calls_those_layers_own_that_one_head_reads(taps: tuple[int, ...]) -> None:
    network = made(FORMS[0], TRUNKS[0])
    network.trunk = tapped(network.trunk, taps)
    demand_that_own_weights_are_moved_by_one_task(stirred(network))
    assert len(network.own_weights) == (4 if sorted(taps) == [1, 1, 2] else 2)


def demand_that_own_weights_are_moved_by_one_task(network: Network) -> None:
    moving = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    for places in OF_TASK:
        network.zero_grad()
        network(*rows(200))[:, places].square().sum().backward()
        for name, weight in network.named_parameters():
            moving[name] += weight.grad != 0
    own = {id(weight) for weight in network.own_weights}
    assert {name for name, weight in network.named_parameters() if id(weight) in own} == {
        name for name, tasks in moving.items() if tasks.max() == 1
    }


def demand_that_a_seed_decides(form: dict[str, Any], trunk: dict[str, Any]) -> None:
    """Hold that the initial weights follow from the seed, and dropout from its stream alone."""
    one, same, other = (made(form, trunk, seed) for seed in (3, 3, 4))
    states = [network.state_dict() for network in (one, same, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())

    def trained(seed: int) -> Tensor:
        draw_from(one.train(), [torch.Generator().manual_seed(seed)])
        return one(*rows())

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


@every_form
def test_a_seed_decides_the_weights_and_dropout_draws_from_its_stream(form: dict[str, Any]) -> None:
    demand_that_a_seed_decides(form, TRUNKS[0])


@every_form
def test_predictions_start_at_the_constant_ones_give_or_take(form: dict[str, Any]) -> None:
    bias = torch.tensor([value for state in STATES for value in state["bias"]])
    assert (made(form, TRUNKS[0])(*rows(100)) - bias).abs().max() < 0.5


@every_trunk
@every_form
def test_a_form_learns_about_as_many_numbers_as_hard_sharing(form: dict[str, Any], trunk: dict[str, Any]) -> None:
    declared = read_trunk({"size": "medium", **trunk})
    fitted = fitted_sharing(60, VOCABULARIES, STATES, declared, read_sharing(form))

    def count(sharing: Any) -> int:
        found = parameter_count(60, VOCABULARIES, STATES, declared, sharing)
        return found["all"] - found["tables"]

    assert 0.93 * count(read_sharing({"kind": "hard"})) < count(fitted) <= count(read_sharing({"kind": "hard"}))


@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form["kind"])
def test_width_and_depth_set_by_hand_win(form: dict[str, Any]) -> None:
    declared = read_sharing({**form, "width": 10, "depth": 3})
    assert fitted_sharing(60, VOCABULARIES, STATES, read_trunk({"size": "small"}), declared) == declared
    assert made({**form, "width": 10, "depth": 3}, TRUNKS[0]).trunk.width == 10


def test_parameters_are_as_many_as_counted_by_hand() -> None:
    inputs, codes, outputs = FEATURES + 2 * 4, sum(VOCABULARIES) * 4, 5

    def expert(width: int = WIDTH) -> int:
        return (inputs + 1) * width + (width + 1) * width

    def heads(width: int = WIDTH) -> int:
        return (width + 1) * outputs

    counted = {
        "hard": codes + expert() + heads(),
        "mmoe": codes + 4 * expert() + 3 * 4 * (inputs + 1) + heads(),
        "cgc": codes + 4 * expert() + 3 * 2 * (inputs + 1) + heads(),
        "cross_stitch": codes + 3 * expert() + 2 * 9 + heads(),
        "lora": codes + expert() + 3 * 4 * (inputs + 3 * WIDTH) + heads(),
        "stem": 4 * codes + 4 * expert() + 3 * 4 * (inputs + 1) + heads(),
    }
    for kind, expected in counted.items():
        assert sum(parameter.numel() for parameter in made({"kind": kind}, TRUNKS[0]).parameters()) == expected


@every_trunk
def test_one_expert_is_hard_sharing(trunk: dict[str, Any]) -> None:
    hard, one = stirred(made({"kind": "hard"}, trunk)), made({"kind": "mmoe", "experts": 1}, trunk)
    held = {name.replace("trunk.", "trunk.trunks.", 1): value for name, value in hard.state_dict().items()}
    kept = {name: value.unsqueeze(0) if name.startswith("trunk.") else value for name, value in held.items()}
    assert one.load_state_dict(kept, strict=False).unexpected_keys == []
    torch.testing.assert_close(one(*rows()), hard(*rows()), atol=1e-6, rtol=0)


@every_trunk
def test_adapters_start_as_hard_sharing(trunk: dict[str, Any]) -> None:
    adapted = made({"kind": "lora"}, trunk)
    hard = made({"kind": "hard"}, trunk)
    held = {name.replace("trunk.", "trunk.trunk.", 1): value for name, value in hard.state_dict().items()}
    kept = {name: value.view_as(adapted.state_dict()[name]) for name, value in held.items()}
    assert adapted.load_state_dict(kept, strict=False).unexpected_keys == []
    torch.testing.assert_close(adapted(*rows()), hard(*rows()), atol=1e-6, rtol=0)


def gated(network: Network) -> list[Tensor]:
    return network.trunk.shares(network.prepared(*rows()))


WITH_GATES = [form for form in FORMS + OTHERS if hasattr(made(form, TRUNKS[0]).trunk, "shares")]


@pytest.mark.parametrize("form", WITH_GATES, ids=lambda form: "-".join(map(str, form.values())))
def test_gates_start_even_and_their_shares_add_up_to_one(form: dict[str, Any]) -> None:
    network = made(form, TRUNKS[0])
    for level in gated(network):
        assert level.shape[:2] == (7, 3)
        torch.testing.assert_close(level, torch.full_like(level, 1 / level.shape[2]))
    for level in gated(stirred(network)):
        assert (level.std(dim=0) > 0).all()
        torch.testing.assert_close(level.sum(dim=-1), torch.ones(7, 3))


def test_gate_dropout_withholds_experts_and_turns_up_the_others() -> None:
    network = stirred(made({"kind": "mmoe", "experts": 4, "gate_dropout": 0.5}, TRUNKS[0])).train()
    draw_from(network, [torch.Generator().manual_seed(0)])
    [shares] = network.trunk.shares(network.prepared(*rows(500)))
    assert 0.35 < (shares == 0).float().mean() < 0.55
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(500, 3))


def of_task(network: Network, task: int) -> dict[str, Tensor]:
    network.zero_grad()
    network(*rows(100))[:, OF_TASK[task]].square().sum().backward()
    return {name: part.grad for name, part in network.named_parameters() if part.grad is not None}


def test_a_task_moves_its_own_table_and_the_shared_one_of_stem_and_reads_all() -> None:
    network = stirred(made({"kind": "stem"}, TRUNKS[0]))
    for task in range(3):
        tables = of_task(network, task)["embedding.weight"].unflatten(-1, (4, 4)).abs().sum(dim=(0, 2))
        assert [bool(part) for part in tables > 0] == [place in (task, 3) for place in range(4)]
        experts = of_task(network, task)["trunk.own_experts.0.weight"].abs().sum(dim=(1, 2))
        assert [bool(part) for part in experts > 0] == [place == task for place in range(3)]
    before = network(*rows())
    with torch.no_grad():
        network.embedding.weight[:, :4] += 1  # the first task's table
    assert ((network(*rows()) - before).abs().amax(dim=0) > 1e-6).all()


def test_a_tasks_own_experts_of_cgc_serve_it_alone() -> None:
    network = stirred(made({"kind": "cgc", "own_experts": 2}, TRUNKS[0]))
    for task in range(3):
        experts = of_task(network, task)["trunk.levels.0.own.0.weight"].abs().sum(dim=(1, 2))
        assert [bool(part) for part in experts > 0] == [place // 2 == task for place in range(6)]


def test_in_the_second_level_of_ple_a_task_hears_of_the_others() -> None:
    network = stirred(made({"kind": "ple"}, TRUNKS[0]))
    assert (of_task(network, 0)["trunk.levels.0.own.0.weight"].abs().sum(dim=(1, 2)) > 0).all()


def test_closed_masks_leave_a_task_its_bias() -> None:
    network = stirred(made({"kind": "attention"}, TRUNKS[0]))
    with torch.no_grad():
        network.trunk.masks[-1].open.bias[0] = -1e4
    found, before = network(*rows()), made({"kind": "attention"}, TRUNKS[0])(*rows())
    torch.testing.assert_close(found[:, 0], network.heads.bias[0].expand(7))
    assert (found[:, 1:].std(dim=0) > 0).all()
    assert before[:, 0].std() > 0


def test_stitches_start_with_most_of_their_own() -> None:
    stitches = made({"kind": "cross_stitch"}, TRUNKS[0]).trunk.stitches
    expected = torch.full((3, 3), 0.05).fill_diagonal_(0.9)
    assert len(stitches) == 2
    assert all(torch.equal(stitch.parts, expected) for stitch in stitches)
    apart = made({"kind": "cross_stitch", "own": 1.0}, TRUNKS[0])
    gradient = of_task(apart, 1)["trunk.trunks.0.weight"].abs().sum(dim=(1, 2))
    assert [bool(part) for part in gradient > 0] == [False, True, False]


def report_of(network: Network) -> list[dict[str, Any]]:
    features, codes = rows(300)
    return gate_report(network, features.numpy(), codes.numpy(), ["a", "b", "c"])


def test_the_gate_report_tells_even_gates_from_a_collapsed_one() -> None:
    network = made({"kind": "cgc"}, TRUNKS[0])
    even = report_of(network)
    assert [gate["task"] for gate in even] == ["a", "b", "c"]
    assert even[0]["load"] == pytest.approx({"own 1": 0.5, "shared 1": 0.5})
    assert [gate["entropy"] for gate in even] == pytest.approx([1.0] * 3)
    assert list(collapsed(even, 0, 0.9)) == []
    with torch.no_grad():
        network.trunk.levels[0].gates.logits.bias[1, 1] = 5
    [alarm] = collapsed(report_of(network), 1, 0.9)
    assert (alarm.task, alarm.seed) == ("b", 1)
    assert alarm.seen.startswith("its gate at level 1 gives expert 'shared 1' 99%")
    assert report_of(network)[1]["entropy"] < 0.1


def test_forms_without_gates_have_no_report_and_one_expert_is_no_collapse() -> None:
    assert report_of(made({"kind": "attention"}, TRUNKS[0])) == []
    [gate, *_] = one = report_of(made({"kind": "mmoe", "experts": 1}, TRUNKS[0]))
    assert (gate["entropy"], gate["load"]) == (None, {"shared 1": 1.0})
    assert list(collapsed(one, 0, 0.9)) == []


def test_unknown_kinds_are_refused_with_the_nearest() -> None:
    for section, word, known in [("sharing", "mmeo", "mmoe"), ("sharing", "crosstitch", "cross_stitch")]:
        with pytest.raises(ParamsError, match=rf"{section}\.kind: '{word}' is unknown.*did you mean '{known}'"):
            parse_project(params(**{section: {"kind": word}}))
    with pytest.raises(ParamsError, match=r"trunk\.kind: 'residul' is unknown.*did you mean 'residual'"):
        parse_project(params(trunk={"kind": "residul"}))
    with pytest.raises(ParamsError, match=r"sharing\.expert: is not a setting here; did you mean 'experts'"):
        parse_project(params(sharing={"kind": "mmoe", "expert": 3}))


def test_a_trunk_without_a_kind_is_the_plain_one() -> None:
    assert parse_project(params(trunk={"width": 9})).trunk.kind == "mlp"
