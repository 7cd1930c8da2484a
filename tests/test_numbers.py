"""Numbers that enter as several: what each kind says of a value, against the authors' own modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rtdl_num_embeddings as authors
import torch
from test_nets import STATES, VOCABULARIES, kinds, stirred
from torch import Tensor
from world import params, split_project

from trunkline import stages
from trunkline.columns.layout import Layout
from trunkline.data.encode import Encoded, read_encoder
from trunkline.errors import ParamsError
from trunkline.nets.declarations import read_trunk
from trunkline.nets.network import Network
from trunkline.nets.numbers import Numbers
from trunkline.nets.stack import member, stack
from trunkline.project import parse_project
from trunkline.training.arm import load_arm

KINDS = kinds(Numbers)
EMBEDDED = [kind for kind in KINDS if kind["kind"] != "plain"]
# Two inputs, of which the first may be missing; a third that gives two numbers.
LAYOUT = Layout((0, 1, 0, 2, 2), (False, False, True, False, False))
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
every_embedding = pytest.mark.parametrize("kind", EMBEDDED, ids=lambda kind: kind["kind"])


def test_all_kinds_are_tried() -> None:
    assert [kind["kind"] for kind in KINDS] == ["plain", "piecewise", "periodic"]
    assert len(get_args(get_args(Numbers)[0])) == 3


def training_features(count: int = 500, seed: int = 0) -> np.ndarray[Any, Any]:
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(count, 5)).astype(np.float32)
    features[:, 1] = chance.integers(0, 3, count)  # three values: most of its quantiles are equal
    features[:, 2] = chance.random(count) < 0.3
    features[features[:, 2] == 1, 0] = 0  # as missing values are prepared
    return features


def made(kind: dict[str, Any], seed: int = 0, layout: Layout = LAYOUT) -> Network:
    trunk = read_trunk({"width": 16, "depth": 2, "embedding": 4, "numbers": kind})
    network = Network(layout, VOCABULARIES, STATES, trunk, torch.Generator().manual_seed(seed))
    network.look_at(training_features())
    return network.eval()


def inputs(count: int = 9, members: int | None = None) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(1)
    front = (count,) if members is None else (members, count)
    codes = torch.stack([torch.randint(0, size, front, generator=chance) for size in VOCABULARIES], dim=-1)
    return torch.randn(*front, LAYOUT.width, generator=chance), codes


def test_pieces_of_a_value_are_how_far_it_has_come_through_each_bin() -> None:
    numbers = made({"kind": "piecewise", "bins": 4}, layout=Layout.of(1)).numbers
    numbers.look_at(np.array([[0.0], [1.0], [3.0], [4.0], [8.0]], dtype=np.float32))
    assert numbers.edges.tolist() == [[0.0, 1.0, 3.0, 4.0, 8.0]]
    found = numbers.encode(torch.tensor([[-1.0], [0.5], [2.0], [6.0], [9.0]]))[0]
    expected = [[0, 0, 0, 0], [0.5, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 1, 0.5], [1, 1, 1, 1]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_bins_are_quantiles_of_what_is_not_missing_and_equal_ones_are_one_edge() -> None:
    features, edges = training_features(), made({"kind": "piecewise", "bins": 8}).numbers.edges
    known = features[features[:, 2] == 0, 0]
    torch.testing.assert_close(edges[0].numpy(), np.quantile(known, np.linspace(0, 1, 9)).astype(np.float32))
    assert edges[1].tolist() == [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert edges.shape == (4, 9)  # the flag has none


def test_a_number_that_is_always_missing_or_always_the_same_has_no_pieces() -> None:
    features = training_features()
    features[:, 1], features[:, 2] = 0.25, 1
    numbers = made({"kind": "piecewise"}).numbers
    numbers.look_at(features)
    encoded = numbers.encode(torch.randn(50, 4))
    assert torch.isfinite(encoded).all()
    assert not encoded[1].any()


def test_piecewise_numbers_are_those_of_the_authors() -> None:
    numbers = stirred(made({"kind": "piecewise", "bins": 6, "width": 5})).numbers
    bins = [edges.unique() for edges in numbers.edges]
    theirs = authors.PiecewiseLinearEmbeddings(bins, 5, activation=False, version="B")
    most = theirs.impl.get_max_n_bins()
    with torch.no_grad():
        theirs.linear0.weight.copy_(numbers.lines)
        theirs.linear0.bias.copy_(numbers.pieces.bias)
        for place, edges in enumerate(bins):
            own = numbers.pieces.weight[place].T[: len(edges) - 1]
            theirs.linear.weight[place, : len(own) - 1] = own[:-1]
            theirs.linear.weight[place, most - 1] = own[-1]  # they keep the last bin at the end
    seen = torch.from_numpy(training_features(200, seed=3)[:, [0, 1, 3, 4]])
    within = torch.minimum(torch.maximum(seen, numbers.edges[:, 0]), numbers.edges[:, -1])
    torch.testing.assert_close(numbers.embed(within), theirs(within), atol=1e-5, rtol=1e-5)


def test_periodic_numbers_are_those_of_the_authors() -> None:
    numbers = made({"kind": "periodic", "frequencies": 6, "width": 5, "sigma": 0.5}).numbers
    theirs = authors.PeriodicEmbeddings(4, 5, n_frequencies=6, frequency_init_scale=0.5, lite=True)
    with torch.no_grad():
        theirs.periodic.weight.copy_(numbers.frequencies)
        theirs.linear.weight.copy_(numbers.mix.weight)
        theirs.linear.bias.copy_(numbers.mix.bias)
    seen = torch.randn(50, 4)
    torch.testing.assert_close(numbers.embed(seen), theirs(seen), atol=1e-5, rtol=1e-5)


def test_sigma_is_the_spread_of_the_frequencies_at_first() -> None:
    layout = Layout.of(50)
    found = made({"kind": "periodic", "frequencies": 64, "sigma": 0.3}, layout=layout).numbers.frequencies.detach()
    assert float(found.std()) == pytest.approx(0.3, rel=0.05)
    assert found.abs().max() <= 0.9


def test_piecewise_numbers_start_as_a_line() -> None:
    numbers, seen = made({"kind": "piecewise"}).numbers, torch.randn(3, 4)
    middle = numbers.embed((seen[:1] + seen[1:2]) / 2)
    torch.testing.assert_close(middle, (numbers.embed(seen[:1]) + numbers.embed(seen[1:2])) / 2, atol=1e-6, rtol=0)


@every_kind
def test_a_stack_says_what_its_members_say(kind: dict[str, Any]) -> None:
    members = [stirred(made(kind, seed), seed) for seed in range(3)]
    whole, (features, codes) = stack(members), inputs(members=3)
    found = whole(features, codes)
    for place, network in enumerate(members):
        torch.testing.assert_close(found[place], network(features[place], codes[place]), atol=1e-5, rtol=0)
        torch.testing.assert_close(member(whole, place)(features[place], codes[place]), found[place], atol=1e-5, rtol=0)


@every_embedding
def test_flags_stay_as_they_are_and_stand_behind_the_numbers(kind: dict[str, Any]) -> None:
    numbers, (features, _) = made({**kind, "width": 3}).numbers, inputs()
    found = numbers(features)
    assert found.shape == (9, 4 * 3 + 1)
    torch.testing.assert_close(found[:, -1], features[:, 2])
    assert numbers.columns == [0] * 3 + [1] * 3 + [2] * 6 + [0]


@every_kind
def test_every_parameter_learns(kind: dict[str, Any]) -> None:
    network, (features, codes) = stirred(made(kind)), inputs(200)
    network(features, codes).square().sum().backward()
    assert [name for name, part in network.named_parameters() if part.grad is None or not part.grad.any()] == []


@every_kind
def test_inputs_without_a_number_are_as_they_are(kind: dict[str, Any]) -> None:
    nothing = Layout.of(0)
    assert made(kind, layout=nothing)(torch.zeros(4, 0), inputs(4)[1]).shape == (4, 5)


def test_the_layout_says_what_the_encoder_prepares(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400)
    stages.encode(tmp_path, project)
    encoder = read_encoder(tmp_path / "data" / "encoded")
    # age, income, flag of age; three cycles, age and flag of since
    assert encoder.layout == Layout((0, 1, 0, *[2] * 8), (False, False, True, *[False] * 7, True))
    features = Encoded(tmp_path / "data" / "encoded", []).side("train").features
    flags = encoder.layout.others
    assert features.shape[1] == encoder.layout.width == encoder.features
    assert set(np.unique(features[:, flags])) == {0.0, 1.0}
    assert all(len(np.unique(features[:, place])) > 2 for place in encoder.layout.numbers)


def test_bins_are_in_the_weights_the_same_for_all_seeds_and_learned_from_training_rows(tmp_path: Path) -> None:
    numbers = {"kind": "piecewise", "bins": 6}
    training = {"seeds": 2, "epochs": 1}
    project = split_project(tmp_path, 800, trunk={"numbers": numbers}, training=training)
    stages.encode(tmp_path, project)
    stages.train(tmp_path, project)
    folder = tmp_path / "data" / "encoded"
    arm = load_arm(tmp_path / "models" / "shared", read_encoder(folder))
    edges = [network.numbers.edges for network in arm.networks]
    assert torch.equal(*edges)
    rows = np.array(Encoded(folder, []).side("train").features)
    age = rows[rows[:, 2] == 0, 0]
    np.testing.assert_allclose(edges[0][0].numpy(), np.quantile(age, np.linspace(0, 1, 7)), rtol=1e-5, atol=1e-6)


def test_what_is_said_wrongly_about_numbers_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"trunk\.numbers\.kind: 'picewise' is unknown.*did you mean 'piecewise'"):
        parse_project(params(trunk={"numbers": {"kind": "picewise"}}))
    with pytest.raises(ParamsError, match=r"trunk\.numbers\.bin: is not a setting here; did you mean 'bins'"):
        parse_project(params(trunk={"numbers": {"kind": "piecewise", "bin": 3}}))
    assert parse_project(params()).trunk.numbers.kind == "plain"
