"""Affinity: gradients are the tasks' own, related tasks are found, unrelated ones stay apart and are never accused."""

from __future__ import annotations

import copy
import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trunkline.evaluation.affinity import analyse_affinity, pooled, suggest_groupings
from trunkline.evaluation.heatmap import heatmap
from trunkline.files import to_json
from trunkline.nets.declarations import MLPTrunk
from trunkline.nets.network import Network
from trunkline.nets.stack import Dropout, draw_from, member, stack
from trunkline.tasks._modules import Losses
from trunkline.training.affinity import BLOCKS, AffinityMeter, Series, last_layer_gradients, lookahead
from trunkline.training.batches import Batch
from trunkline.training.declarations import Monitor

TASKS = ["a", "dup", "neg", "half", "u", "noise"]
WIDTH, SEEDS, ROWS = 16, 3, 4000


def states(count: int) -> list[dict[str, Any]]:
    state = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared"}
    return [{**state, "spread": 1.0, "center": 0.0, "clip": None} for _ in range(count)]


def planted() -> tuple[Tensor, Tensor]:
    """Six tasks: `a`, it with noise, it with its sign turned, half of it and half of `u`, unrelated `u`, and noise."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(ROWS, WIDTH))

    def standard(values: np.ndarray) -> np.ndarray:
        return (values - values.mean()) / values.std()

    def truth(first: int) -> np.ndarray:
        p, q, r, s, t = x[:, first : first + 5].T
        return standard(np.tanh(p + q) + 0.5 * r * s + t)

    def noise(spread: float) -> np.ndarray:
        return spread * chance.normal(size=ROWS)

    ours, other = truth(0), truth(8)
    a = ours + noise(0.3)
    columns = [a, a + noise(0.5), -a, (ours + other) / 2 + noise(0.2), other + noise(0.3), noise(1.0)]
    targets = np.stack([standard(column) for column in columns], axis=1)
    return torch.from_numpy(x).float(), torch.from_numpy(targets).float()


def made_network(seeds: int, tasks: int, width: int = 32, dropout: float = 0.0) -> Network:
    trunk = MLPTrunk(width=width, depth=2, dropout=dropout)
    chance = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    return stack([Network(WIDTH, [], states(tasks), trunk, generator) for generator in chance])


def as_batch(features: Tensor, targets: Tensor) -> Batch:
    nothing = torch.zeros(*features.shape[:-1], 0, dtype=torch.int64)
    return Batch(features, nothing, targets, nothing, nothing.float())


class World(NamedTuple):
    """A training of the planted tasks, step by step."""

    network: Network
    losses: Losses
    meter: AffinityMeter
    step: Callable[[int], None]


def world(monitor: Monitor) -> World:
    features, targets = planted()
    network, losses = made_network(SEEDS, len(TASKS)), Losses(states(len(TASKS)), "constant")
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    meter = AffinityMeter(TASKS, SEEDS, monitor)

    def step(number: int) -> None:
        chance = torch.Generator().manual_seed(number)
        places = torch.randint(ROWS, (SEEDS, 256), generator=chance)
        batch = as_batch(features[places], targets[places])
        meter.measure(number, network, losses, batch, 3e-3, [True] * SEEDS)
        optimizer.zero_grad()
        losses(network(batch.features, batch.codes), batch.targets).sum().backward()
        optimizer.step()

    return World(network, losses, meter, step)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    trained = world(Monitor(every=5, lookahead=20))
    for number in range(300):
        trained.step(number)
    return json.loads(to_json(trained.meter.result()))


@pytest.fixture(scope="module")
def analysis(record: dict[str, Any]) -> dict[str, Any]:
    return json.loads(to_json(analyse_affinity(record)))


def entry(analysis: dict[str, Any], matrix: str, one: str, other: str) -> float:
    return analysis[matrix][TASKS.index(one)][TASKS.index(other)]


# --- what is found of planted tasks -----------------------------------------------------------------------


def test_related_tasks_agree_even_where_the_label_has_its_sign_turned(analysis):
    assert entry(analysis, "cosine", "a", "dup") >= 0.25
    assert entry(analysis, "cosine", "a", "neg") >= 0.25
    assert entry(analysis, "affinity", "a", "dup") > 0.6
    assert entry(analysis, "affinity", "a", "neg") > 0.9


def test_a_task_that_is_half_of_two_lies_between_and_unrelated_ones_at_zero(analysis):
    for parent in ("a", "u"):
        assert 0.08 <= entry(analysis, "cosine", "half", parent) <= 0.4
        assert 0.2 < entry(analysis, "affinity", "half", parent) < 0.6
    assert abs(entry(analysis, "cosine", "a", "u")) <= 0.05
    assert all(abs(entry(analysis, "cosine", name, "noise")) <= 0.05 for name in TASKS[:-1])


def test_the_groups_keep_what_is_related_together_and_the_rest_apart(analysis):
    assert len(analysis["groupings"]) > 1
    best = analysis["groupings"][0]["groups"]
    assert any({"a", "dup", "neg"} <= set(group) for group in best)
    for grouping in analysis["groupings"]:
        for group in grouping["groups"]:
            assert group == ["noise"] or "noise" not in group
            assert not {"a", "u"} <= set(group)
    assert "`trunkline groups --confirm` trains these" in analysis["says"][-1]


def test_a_conflict_rate_of_a_half_is_no_conflict(analysis):
    assert 0.35 < entry(analysis, "conflict_rate", "a", "u") < 0.65
    assert entry(analysis, "conflict_rate", "u", "u") > 0.15, "one task with itself shows it often as well"
    assert analysis["conflicts"] == []
    assert analysis["says"][0].startswith("No two tasks pull")


def test_a_step_for_one_task_helps_its_kin_and_itself_and_no_stranger(analysis):
    own = entry(analysis, "lookahead", "a", "a")
    assert own > 0
    assert entry(analysis, "lookahead", "a", "neg") > 0.8 * own
    assert 0.05 * own < entry(analysis, "lookahead", "half", "a") < 0.6 * own
    assert abs(entry(analysis, "lookahead", "a", "u")) < 0.1 * own


# --- the measurement --------------------------------------------------------------------------------------


def brute_force(network: Network, losses: Losses, batch: Batch, task: int) -> Tensor:
    """Return a task's gradient at the last shared layer of one seed's network, the plain way."""
    network.zero_grad()
    losses(network(batch.features, batch.codes), batch.targets)[task].backward()
    layer = [part for part in network.trunk if hasattr(part, "weight")][-1]
    return torch.cat([layer.weight.grad.flatten(), layer.bias.grad])


def some_rows(seeds: int, rows: int = 51) -> Batch:
    chance = torch.Generator().manual_seed(5)
    targets = torch.randn(seeds, rows, 3, generator=chance)
    targets[torch.rand(targets.shape, generator=chance) < 0.3] = math.nan
    return as_batch(torch.randn(seeds, rows, WIDTH, generator=chance), targets)


def test_stacked_gradients_are_those_of_each_seed_by_itself():
    network, losses, batch = made_network(SEEDS, 3), Losses(states(3), "constant"), some_rows(SEEDS)
    found = last_layer_gradients(network, losses, batch)
    for seed in range(SEEDS):
        single = member(network, seed)
        for task in range(3):
            expected = brute_force(single, losses, batch.of(seed), task)
            torch.testing.assert_close(found[seed, task], expected, rtol=1e-6, atol=1e-6)


def test_cosines_are_those_of_the_whole_batch_and_of_its_halves():
    network, losses, batch = made_network(SEEDS, 3), Losses(states(3), "constant"), some_rows(SEEDS)
    meter = AffinityMeter(["x", "y", "z"], SEEDS, Monitor(every=1, lookahead=0))
    meter.measure(0, network, losses, batch, 0.01, [True] * SEEDS)
    found = meter.result()["seeds"][1]
    single, rows = member(network, 1), batch.of(1)
    whole = [brute_force(single, losses, rows, task) for task in range(3)]
    even, odd = (
        [brute_force(single, losses, Batch(*(part[first::2] for part in rows)), task) for task in range(3)]
        for first in (0, 1)
    )

    def cosine(one: Tensor, other: Tensor) -> float:
        return nn.functional.cosine_similarity(one, other, dim=0).item()

    assert found["cosine"][0][2] == pytest.approx(cosine(whole[0], whole[2]), abs=1e-5)
    assert found["crossed"][1][1] == pytest.approx(cosine(even[1], odd[1]), abs=1e-5)
    mixed = (cosine(even[0], odd[2]) + cosine(odd[0], even[2])) / 2
    assert found["crossed"][0][2] == pytest.approx(mixed, abs=1e-5)
    assert found["norm"] == pytest.approx([gradient.norm().item() for gradient in whole], rel=1e-5)


def test_lookahead_is_what_a_real_step_of_that_length_does_to_every_loss():
    network, losses, batch = made_network(SEEDS, 3), Losses(states(3), "constant"), some_rows(SEEDS)
    found = lookahead(network, losses, batch, 0.1)
    single, rows = member(network, 2), batch.of(2)
    for source in range(3):
        moved = copy.deepcopy(single)
        before = losses(moved(rows.features, rows.codes), rows.targets)
        brute_force(moved, losses, rows, source)
        shared = [part for name, part in moved.named_parameters() if not name.startswith("heads")]
        gradient = torch.cat([part.grad.flatten() for part in shared if part.grad is not None])
        touched = torch.cat([part[part.grad != 0] for part in shared if part.grad is not None])
        with torch.no_grad():
            for part in shared:
                part -= 0.1 * touched.norm() / gradient.norm() * part.grad
            after = losses(moved(rows.features, rows.codes), rows.targets)
        torch.testing.assert_close(found[2, source], 1 - after / before, rtol=1e-3, atol=1e-5)


def test_a_measurement_leaves_weights_gradients_dropout_and_every_random_number_as_they_were():
    network, losses, batch = made_network(SEEDS, 3, dropout=0.5), Losses(states(3), "constant"), some_rows(SEEDS)
    streams = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    draw_from(network, streams)
    network.train()
    losses(network(batch.features, batch.codes), batch.targets).sum().backward()

    def everything() -> list[Tensor]:
        held = [tensor for part in network.parameters() for tensor in (part, part.grad)]
        random = [torch.get_rng_state(), *(stream.get_state() for stream in streams)]
        return [tensor.detach().nan_to_num(nan=-9).clone() for tensor in [*held, *batch, *random]]

    before = everything()
    meter = AffinityMeter(["x", "y", "z"], SEEDS, Monitor(every=1, lookahead=1))
    meter.measure(0, network, losses, batch, 0.01, [True] * SEEDS)
    assert all(torch.equal(one, other) for one, other in zip(before, everything(), strict=True))
    assert all(part.training for part in network.modules())
    assert any(isinstance(part, Dropout) and part.cut for part in network.modules()), "else nothing could be drawn"
    assert meter.result()["seeds"][0]["count"][0][1] == 1


def test_a_training_that_was_interrupted_measures_the_same_to_the_last_bit():
    straight, before = world(Monitor(every=2, lookahead=5)), world(Monitor(every=2, lookahead=5))
    for number in range(60):
        straight.step(number)
    for number in range(60):
        if number == 41:
            torch.save(before.meter.state_dict(), saved := io.BytesIO())
            before.meter.measure(41, *before_arguments(before))
            before.meter.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
        before.step(number)
    assert to_json(before.meter.result()) == to_json(straight.meter.result())


def before_arguments(trained: World) -> tuple[Any, ...]:
    """What another measurement would get; the checkpoint must forget it."""
    features, targets = planted()
    rows = as_batch(features[:64].expand(SEEDS, -1, -1), targets[:64].expand(SEEDS, -1, -1))
    return trained.network, trained.losses, rows, 0.1, [True] * SEEDS


def test_tasks_without_a_label_and_seeds_that_have_stopped_are_left_out():
    network, losses, batch = made_network(SEEDS, 3), Losses(states(3), "constant"), some_rows(SEEDS)
    batch.targets[:, :, 1] = math.nan
    meter = AffinityMeter(["x", "y", "z"], SEEDS, Monitor(every=1, lookahead=1))
    meter.measure(0, network, losses, batch, 0.01, [True, False, True])
    first, stopped, _ = meter.result()["seeds"]
    assert first["count"] == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert math.isnan(first["lookahead"][0][1]) and math.isnan(first["lookahead"][1][0])
    assert math.isfinite(first["lookahead"][0][2])
    assert np.sum(stopped["count"]) == 0
    found = analyse_affinity(json.loads(to_json(meter.result())))
    assert math.isfinite(found["cosine"][0][2]) and math.isnan(found["cosine"][0][1])


def test_it_measures_at_the_declared_steps_and_never_where_it_is_off():
    network, losses, batch = made_network(1, 3), Losses(states(3), "constant"), some_rows(1)
    meter, off = (AffinityMeter(["x", "y", "z"], 1, Monitor(every=every, lookahead=0)) for every in (4, 0))
    for step in range(10):
        for each in (meter, off):
            each.measure(step, network, losses, batch, 0.01, [True])
    assert meter.result()["seeds"][0]["count"][0][0] == 2
    assert analyse_affinity(json.loads(to_json(off.result()))) is None


# --- statistics -------------------------------------------------------------------------------------------


def autocorrelated(chance: np.random.Generator, count: int) -> np.ndarray:
    steps = chance.normal(size=count)
    for place in range(1, count):
        steps[place] += 0.9 * steps[place - 1]
    return steps


def test_the_error_of_a_mean_does_not_believe_neighbouring_measurements_to_be_independent():
    chance = np.random.default_rng(0)
    ratios, naive = [], []
    for _ in range(200):
        series, values = Series(1), autocorrelated(chance, 640)
        for value in values:
            series.add(torch.tensor([value]))
        ratios.append(series.mean().item() / series.standard_error().item())
        naive.append(values.mean() / (values.std() / math.sqrt(len(values))))
    assert np.mean(np.abs(naive) > 3) > 0.3, "the world can fail"
    assert np.mean(np.abs(ratios) > 3) < 0.05


def test_a_series_of_any_length_keeps_its_mean_in_few_blocks():
    values = torch.arange(1000, dtype=torch.float64)
    series = Series(1)
    for value in values:
        series.add(value.reshape(1))
    assert series.sums.shape == (BLOCKS, 1)
    assert series.count().item() == 1000
    assert series.mean().item() == values.mean().item()


def test_two_seeds_that_agree_by_luck_are_not_taken_for_certainty():
    means, errors = np.array([[-0.2], [-0.2001]]), np.array([[0.15], [0.15]])
    assert pooled(means)[1][0] < -1000
    assert -2 < pooled(means, errors)[1][0] < -1


def fake_record(cosine: float, spread: float, names: tuple[str, ...] = ("x", "y")) -> dict[str, Any]:
    size = len(names)
    seeds = []
    for shift in (-spread, 0.0, spread):
        matrix = np.full((size, size), cosine + shift)
        np.fill_diagonal(matrix, 1.0)
        small = np.full((size, size), 0.001)
        crossed = np.where(np.eye(size) > 0, 0.2, matrix / 5)
        rate = np.where(np.eye(size) > 0, 0.4, 0.5 - cosine)
        seeds.append(
            {
                "count": np.full((size, size), 50), "cosine": matrix, "standard_error": small, "crossed": crossed,
                "crossed_error": small, "conflict_rate": rate, "norm": np.ones(size), "lookahead": matrix * math.nan,
            }
        )  # fmt: skip
    return {"tasks": list(names), "every": 20, "lookahead": 0, "seeds": seeds}


@pytest.mark.parametrize(
    ("cosine", "spread", "flagged"), [(-0.3, 0.03, True), (-0.05, 0.001, False), (-0.3, 0.3, False), (0.3, 0.01, False)]
)
def test_a_conflict_is_large_and_beyond_chance(cosine, spread, flagged):
    found = analyse_affinity(fake_record(cosine, spread))
    assert bool(found["conflicts"]) is flagged
    assert ("against each other: mean cosine −0.30" in found["says"][0]) is flagged
    if flagged:
        assert "below 0 in 80% of the measurements (each task with itself: 40% and 40%)" in found["says"][0]


def test_where_a_batch_is_too_noisy_for_a_ceiling_the_cosine_stands_in_and_the_reader_is_told():
    record = fake_record(0.6, 0.001)
    assert analyse_affinity(record)["affinity"][0][1] == pytest.approx(0.6)  # 0.12 across halves, over 0.2
    for seed in record["seeds"]:
        seed["crossed"] = np.array([[0.02, 0.01], [0.01, 0.2]])
        seed["cosine"] = np.array([[1.0, 0.45], [0.45, 1.0]])
        seed["crossed_error"] = np.full((2, 2), 0.03)
    found = analyse_affinity(record)
    assert found["affinity"] == [[1.0, 0.45], [0.45, 1.0]]
    assert "for 'x', as where labels are few" in found["says"][1]
    assert found["groupings"][0]["groups"] == [["x", "y"]]


def test_lookahead_that_was_not_measured_is_none_and_not_zero():
    assert analyse_affinity(fake_record(0.1, 0.01))["lookahead"] is None


# --- groups -----------------------------------------------------------------------------------------------


def clusters(*sizes: int) -> tuple[list[str], np.ndarray, list[list[str]]]:
    label = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"t{place}" for place in range(len(label))]
    affinity = np.where(label[:, None] == label[None, :], 0.8, 0.02)
    wanted = [[name for name, at in zip(names, label, strict=True) if at == group] for group in range(len(sizes))]
    return names, affinity, wanted


@pytest.mark.parametrize("sizes", [(2, 3), (1, 1, 1), (6,), (5, 4, 3), (1, 20, 19)])
def test_groups_that_are_there_are_found(sizes):
    names, affinity, wanted = clusters(*sizes)
    assert sorted(suggest_groupings(names, affinity)[0].groups) == sorted(wanted)


def test_unknown_affinity_is_no_reason_to_share():
    groupings = suggest_groupings(["x", "y"], np.array([[1.0, math.nan], [math.nan, 1.0]]))
    assert [grouping.groups for grouping in groupings] == [[["x"], ["y"]]]


# --- the map ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 12, 13, 40])
def test_a_map_is_well_formed_and_shows_each_pair(count):
    chance = np.random.default_rng(0)
    matrix = chance.uniform(-1, 1, (count, count))
    names = [f"<task & {place}>" * (3 if place == 1 else 1) for place in range(count)]
    svg = str(heatmap(matrix.tolist(), names, -1, 1, 'Affinity of "tasks"'))
    tree = ElementTree.fromstring(svg)
    assert tree.get("aria-label") == 'Affinity of "tasks"'
    assert len(tree.findall("g")) == count**2
    texts = [text.text for text in tree.iter("text") if text.text]
    shown = f"{matrix[0, 0]:+.2f}".replace("-", "−")
    assert (shown in texts) is (count <= 12)
    assert shown in tree.findall("g")[0].find("title").text


def test_a_map_without_colour_tells_agreement_from_conflict_and_from_nothing_known():
    few = str(heatmap([[0.5, -0.5], [None, 0.0]], ["x", "y"], -1, 1, "m"))
    assert all(value in few for value in ("+0.50", "−0.50", ">–<", ">0.00<"))
    names = [f"t{place}" for place in range(13)]
    row = [0.5, -0.5, None, *[0.0] * 10]
    cells = ElementTree.fromstring(str(heatmap([row] * 13, names, -1, 1, "m"))).findall("g")
    assert cells[0].findall("rect")[1].get("fill") == "var(--shared)"
    assert cells[1].findall("rect")[1].get("fill") == "none"
    assert cells[2].find("path") is not None
