"""Fairness: what each group gets, how sure the gaps are, and a penalty that closes them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from trunkline.errors import ParamsError
from trunkline.evaluation import fairness as judged
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.fairness import judge_fairness, wilson
from trunkline.project import parse_project
from trunkline.tasks import KINDS
from trunkline.training._fairness import FEWEST_ROWS, LARGEST, GroupPenalty
from trunkline.training.fairness import FairnessPenalty

ROWS = 3000
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


def evidence(kind: str, labels: Any, predictions: Any, state: dict[str, Any], **settings: Any) -> Evidence:
    """Return a task whose exported model is the second of two seeds."""
    shared = np.stack([np.zeros_like(predictions), predictions]).astype(np.float32)
    task = KINDS[kind].model_validate({"kind": kind, "target": "y", **settings})
    return Evidence(kind, task, {"kind": kind, **state}, np.asarray(labels, dtype=np.float64), shared, shared, 1)


def binary(generator: np.random.Generator, group: Any, apart: float = 1.0, **settings: Any) -> Evidence:
    """Return a yes-or-no task whose logits differ by `apart` from one group to the next; some rows have no label."""
    logits = generator.normal(size=len(group)) + apart * group
    labels = (generator.random(len(group)) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    labels[generator.random(len(group)) < 0.1] = np.nan
    return evidence("binary", labels, 1 / (1 + np.exp(-logits[:, None])), {"prevalence": 0.4}, **settings)


def one_task(task: Evidence, group: Any, units: Any = None, draws: int = 400, seed: int = 1) -> dict[str, Any]:
    """Return what is found of one task and one column."""
    units = np.arange(len(group)) if units is None else units
    return judge_fairness([task], TestRows(units, columns={"g": np.asarray(group)}), ["g"], draws, seed)["g"][task.name]


# --- the values -------------------------------------------------------------------------------------------


def test_rates_and_gaps_are_those_of_fairlearn() -> None:
    from fairlearn import metrics

    generator = np.random.default_rng(0)
    group = generator.integers(0, 3, ROWS)
    task = binary(generator, group, threshold=0.6)
    found = one_task(task, np.array(["a", "b", "c"], dtype=object)[group])
    chosen = task.shared[1, :, 0] >= np.float32(0.6)
    names = {rate: getattr(metrics, rate) for rate in RATES}
    for measure, reference in names.items():
        rows = np.ones(ROWS, dtype=bool) if measure == "selection_rate" else task.known
        truth = np.where(task.known, task.labels, 0)[rows]  # what fairlearn's selection rate does not look at
        frame = metrics.MetricFrame(
            metrics=reference, y_true=truth, y_pred=chosen[rows], sensitive_features=group[rows]
        )
        assert [of[measure]["value"] for of in found["groups"]] == pytest.approx(frame.by_group.tolist())
        assert found["gaps"][measure]["value"] == pytest.approx(frame.difference())
    assert json.loads(json.dumps(found)) == found
    parity = metrics.demographic_parity_difference(chosen, chosen, sensitive_features=group)
    assert found["gaps"]["selection_rate"]["value"] == pytest.approx(parity)
    known = task.known
    odds = metrics.equalized_odds_difference(task.labels[known], chosen[known], sensitive_features=group[known])
    assert max(found["gaps"][rate]["value"] for rate in RATES[1:]) == pytest.approx(odds)


def test_the_threshold_is_the_declared_one_else_the_training_prevalence() -> None:
    generator = np.random.default_rng(0)
    group = generator.integers(0, 2, ROWS)
    found = [one_task(binary(np.random.default_rng(1), group, **said), group) for said in ({}, {"threshold": 0.7})]
    assert [(each["threshold"], each["threshold_from"]) for each in found] == [
        (0.4, "training prevalence"),
        (0.7, "declared"),
    ]
    assert found[0]["groups"][0]["selection_rate"]["value"] > found[1]["groups"][0]["selection_rate"]["value"]


def test_calibration_is_what_was_said_too_much() -> None:
    labels = np.repeat([0.0, 1.0, 0.0, 1.0], [80, 20, 40, 60])
    group = np.repeat([0, 1], 100)
    found = one_task(evidence("binary", labels, np.full((200, 1), 0.3), {"prevalence": 0.4}), group)
    assert [of["calibration"]["value"] for of in found["groups"]] == pytest.approx([0.1, -0.3])
    assert found["gaps"]["calibration"]["value"] == pytest.approx(0.4)
    assert (found["gaps"]["calibration"]["highest"], found["gaps"]["calibration"]["lowest"]) == ("0", "1")


def test_a_regression_has_bias_and_error_and_a_multiclass_task_accuracy_and_the_share_of_each_class() -> None:
    group = np.repeat([0, 1], 100)
    numbers = one_task(evidence("regression", np.zeros(200), np.where(group, 2.0, -1.0)[:, None], {}), group)
    assert [of["bias"]["value"] for of in numbers["groups"]] == [-1, 2]
    assert [of["mae"]["value"] for of in numbers["groups"]] == [1, 2]
    assert "threshold" not in numbers
    chosen = np.eye(3)[np.where(group, 2, np.arange(200) % 2)]
    words = one_task(evidence("multiclass", np.full(200, 2.0), chosen, {"classes": ["x", "y", "z"]}), group)
    assert [of["accuracy"]["value"] for of in words["groups"]] == [0, 1]
    assert [of["selection_rate.x"]["value"] for of in words["groups"]] == [0.5, 0]
    assert words["gaps"]["selection_rate.z"]["value"] == 1


def test_rows_without_a_value_are_a_group_and_small_groups_are_shown_but_make_no_gap() -> None:
    generator = np.random.default_rng(0)
    place = np.repeat([0, 1, 2], [1500, 1460, 40])
    task = binary(generator, place)
    found = one_task(task, np.array(["a", None, "tiny"], dtype=object)[place])
    assert [(of["group"], of["rows"]) for of in found["groups"]] == [("a", 1500), ("tiny", 40), ("(missing)", 1460)]
    assert found["groups"][1]["selection_rate"]["rows"] == 40
    assert found["gaps"]["selection_rate"]["left_out"] == ["tiny"]
    assert {found["gaps"]["selection_rate"][end] for end in ("highest", "lowest")} == {"a", "(missing)"}


def test_a_gap_that_no_two_groups_can_show_is_none() -> None:
    group = np.repeat([0, 1], [190, 10])
    labels = np.where(np.arange(200) % 20 == 0, 1.0, 0.0)
    gaps = one_task(evidence("binary", labels, np.full((200, 1), 0.5), {"prevalence": 0.4}), group)["gaps"]
    assert gaps["selection_rate"] == {
        "value": None, "interval": None, "highest": None, "lowest": None, "left_out": ["1"],
    }  # fmt: skip
    assert gaps["true_positive_rate"]["left_out"] == ["0", "1"]


def test_true_positive_rates_need_positives_not_rows() -> None:
    group, labels = np.repeat([0, 1], 500), np.zeros(1000)
    labels[:60] = labels[500:549] = 1
    gaps = one_task(evidence("binary", labels, np.full((1000, 1), 0.5), {"prevalence": 0.4}), group)["gaps"]
    assert gaps["true_positive_rate"]["left_out"] == ["1"]
    assert gaps["false_positive_rate"]["left_out"] == []


# --- the intervals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hits", [0, 1, 20, 50])
def test_wilsons_interval_is_that_of_scipy(hits: int) -> None:
    low, high = stats.binomtest(hits, 50).proportion_ci(method="wilson")
    assert wilson(hits / 50, 50) == pytest.approx([low, high], abs=1e-6)


def shares(generator: np.random.Generator, rates: list[float], rows: int) -> tuple[Evidence, Any]:
    group = generator.integers(0, len(rates), rows)
    chosen = np.where(generator.random(rows) < np.array(rates)[group], 0.9, 0.1)[:, None]
    return evidence("binary", np.zeros(rows), chosen, {"prevalence": 0.5}), group


@pytest.mark.parametrize("rates", [[0.3, 0.3], [0.3, 0.4], [0.3] * 6])
def test_the_true_gap_lies_in_nearly_all_intervals(rates: list[float]) -> None:
    held = 0
    for repeat in range(100):
        gap = one_task(*shares(np.random.default_rng(repeat), rates, 400 * len(rates)), seed=repeat)["gaps"]
        low, high = gap["selection_rate"]["interval"]
        held += low <= max(rates) - min(rates) <= high
    assert held >= 90


def test_a_rate_that_never_moves_is_not_certain() -> None:
    group = np.repeat([0, 1], 60)
    found = one_task(evidence("binary", np.zeros(120), np.zeros((120, 1)), {"prevalence": 0.4}), group)
    assert found["groups"][0]["selection_rate"]["interval"][1] > 0.05
    assert found["gaps"]["selection_rate"]["interval"][1] > 0.05


def test_rows_of_one_unit_say_less_than_as_many_of_their_own() -> None:
    generator = np.random.default_rng(0)
    of_unit, group = generator.random(300) < 0.4, np.repeat(np.arange(300) % 2, 10)
    chosen = np.where(np.repeat(of_unit, 10), 0.9, 0.1)[:, None]
    task = evidence("binary", np.zeros(3000), chosen, {"prevalence": 0.5})
    alone, together = (one_task(task, group, units) for units in (np.arange(3000), np.repeat(np.arange(300), 10)))

    def width(of: dict[str, Any]) -> float:
        return of["interval"][1] - of["interval"][0]

    for one, ten in [
        (alone["groups"][0], together["groups"][0]),
        (alone["gaps"], together["gaps"]),
    ]:
        assert width(ten["selection_rate"]) > 2 * width(one["selection_rate"])


def test_blocks_of_very_many_units_give_the_interval_of_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    task, group = shares(np.random.default_rng(0), [0.3, 0.5], 8000)
    whole = one_task(task, group, draws=1000)["gaps"]["selection_rate"]["interval"]
    monkeypatch.setattr(judged, "MOST_UNITS", 1000)
    assert one_task(task, group, draws=1000)["gaps"]["selection_rate"]["interval"] == pytest.approx(whole, abs=0.004)


def test_the_same_seed_gives_the_same_figures_and_the_draws_fit_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    task, group = shares(np.random.default_rng(0), [0.3, 0.5], 1000)
    first, second, other = (one_task(task, group, seed=seed) for seed in (1, 1, 2))
    assert first == second != other
    monkeypatch.setattr(judged, "WEIGHTS_AT_ONCE", 7000)
    assert one_task(task, group) == first


# --- the penalty ------------------------------------------------------------------------------------------


def declared(kind: str = "demographic_parity", **settings: Any) -> FairnessPenalty:
    return FairnessPenalty.model_validate({"kind": kind, "task": "hired", "column": "sex", **settings})


def penalty(members: int = 1, groups: int = 2, **settings: Any) -> GroupPenalty:
    return declared(**settings).build(members, groups, {"threshold": 0.5, "prevalence": 0.3})


def batches(seed: int, count: int = 6, members: int = 1, groups: int = 3, rows: int = 300) -> list[tuple[Tensor, ...]]:
    """Return batches of logits that rise with the group, groups, and labels of which some are missing."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        group = torch.randint(0, groups, (members, rows), generator=generator, dtype=torch.int32)
        logits = torch.randn(members, rows, generator=generator) + group
        labels = (torch.rand(members, rows, generator=generator) < 0.4).float()
        labels[torch.rand(members, rows, generator=generator) < 0.1] = torch.nan
        made.append((logits, group, labels))
    return made


both_kinds = pytest.mark.parametrize("kind", ["demographic_parity", "equal_opportunity"])


@both_kinds
@given(seed=st.integers(0, 1000), order=st.permutations([0, 1, 2]))
def test_the_names_of_the_groups_do_not_matter(kind: str, seed: int, order: list[int]) -> None:
    plain, renamed = (penalty(groups=3, kind=kind, rate=1.0) for _ in range(2))
    places = torch.tensor(order, dtype=torch.int32)
    for logits, groups, labels in batches(seed):
        price, other = plain(logits, groups, labels), renamed(logits, places[groups], labels)
        assert torch.allclose(price, other, atol=1e-5)
    assert torch.allclose(plain.multiplier, renamed.multiplier, atol=1e-5)
    assert plain.multiplier > 0


@both_kinds
@given(seed=st.integers(0, 1000))
def test_groups_that_are_treated_alike_cost_nothing(kind: str, seed: int) -> None:
    made = penalty(kind=kind)
    for logits, _, labels in batches(seed):
        alike = [torch.cat([part, part], dim=1) for part in (logits, labels)]
        groups = torch.arange(2).repeat_interleave(300)[None]
        assert made(alike[0], groups, alike[1]).item() == 0
    assert made.multiplier.item() == 0


@both_kinds
@pytest.mark.parametrize("lacking", ["a group", "both groups", "labels", "logits that differ"])
def test_a_batch_that_shows_no_gap_gives_a_finite_gradient_and_no_price(kind: str, lacking: str) -> None:
    made = penalty(kind=kind, rate=1.0)
    for logits, groups, labels in batches(0, groups=2):
        made(logits, groups, labels)
    assert made.multiplier > 0
    logits, groups, labels = batches(1, count=1, groups=2)[0]
    if lacking == "a group":
        groups = torch.zeros_like(groups)
    if lacking == "both groups":
        groups = torch.full_like(groups, 7)
    if lacking == "labels":
        labels = torch.full_like(labels, torch.nan)
    if lacking == "logits that differ":
        logits = torch.zeros_like(logits)
    logits.requires_grad_()
    price = made(logits, groups, labels)
    price.sum().backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    if lacking != "labels" or kind == "equal_opportunity":
        assert price.item() == 0


@both_kinds
def test_the_price_falls_where_the_groups_come_nearer(kind: str) -> None:
    made = penalty(groups=3, kind=kind, rate=1.0)
    for logits, groups, labels in batches(0):
        logits = logits.clone().requires_grad_()
        price = made(logits, groups, labels)
    price.sum().backward()
    made.eval()
    assert made(logits - 10 * logits.grad, groups, labels) < price
    counted = (labels == 1) if kind == "equal_opportunity" else torch.ones_like(labels, dtype=torch.bool)
    assert (logits.grad[counted & (groups == 2)] > 0).all(), "the group on top is lowered"
    assert (logits.grad[counted & (groups == 0)] < 0).all(), "the group at the bottom is raised"
    assert (logits.grad[~counted | (groups == 1)] == 0).all()


@both_kinds
def test_each_member_of_a_stack_is_as_by_itself(kind: str) -> None:
    stacked, by_place = (penalty(3, 3, kind=kind, rate=1.0) for _ in range(2))
    singles = [penalty(1, 3, kind=kind, rate=1.0) for _ in range(3)]
    for parts in batches(0, members=3):
        together = stacked(*parts)
        for place, single in enumerate(singles):
            own = [part[place] for part in parts]
            assert by_place(*own, place).item() == pytest.approx(together[place].item(), abs=1e-6)
            assert single(*(part[None] for part in own)).item() == pytest.approx(together[place].item(), abs=1e-6)
    assert torch.allclose(stacked.multiplier, by_place.multiplier)
    assert len(set(stacked.multiplier.tolist())) == 3


def test_a_penalty_that_resumes_goes_on_to_the_last_bit() -> None:
    parts = batches(0, members=2)
    whole, first, second = (penalty(2, 3, rate=1.0) for _ in range(3))
    prices = [whole(*part) for part in parts]
    for part in parts[:3]:
        first(*part)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(second(*part), price) for part, price in zip(parts[3:], prices[3:], strict=True))
    assert all(torch.equal(second.state_dict()[key], value) for key, value in whole.state_dict().items())


def test_evaluation_moves_nothing() -> None:
    made = penalty(groups=3).eval()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    made(*batches(0)[0])
    assert all(torch.equal(made.state_dict()[key], value) for key, value in before.items())


def test_the_price_rises_while_the_gap_is_too_wide_up_to_a_limit_and_falls_to_nothing_after() -> None:
    made, prices = penalty(rate=1.0), []
    groups, labels = torch.arange(200)[None] % 2, torch.zeros(1, 200)
    for step in range(60):
        made(torch.where(groups == 1, 1.0, -1.0) * (1 if step < 20 else torch.randn(1, 200)), groups, labels)
        prices.append(made.multiplier.item())
    assert all(later > earlier or later == LARGEST for earlier, later in itertools.pairwise(prices[:20]))
    assert prices[19] == LARGEST
    made = penalty(rate=1.0)
    made.multiplier.fill_(0.5)
    for _ in range(20):
        made(torch.zeros(1, 200), groups, labels)
    assert made.multiplier.item() == 0


def test_a_group_of_very_few_rows_is_not_compared() -> None:
    made = penalty(groups=3, rate=1.0)
    groups = torch.tensor([[0] * 100 + [1] * 100 + [2]])
    for _ in range(40):
        made(torch.where(groups == 2, 5.0, -1.0), groups, torch.zeros(1, 201))
    assert made.seen[0, 2] < FEWEST_ROWS
    assert made.multiplier.item() == 0


def test_only_a_binary_task_and_a_sensitive_column_can_be_held_to_a_gap() -> None:
    content: dict[str, Any] = {
        "version": 1,
        "data": {"key": ["id"], "sensitive": ["sex"]},
        "columns": {"age": {"kind": "numeric"}},
        "tasks": {"hired": {"kind": "binary", "target": "h"}, "pay": {"kind": "regression", "target": "p"}},
        "split": {"kind": "random"},
        "training": {"fairness": [{"kind": "demographic_parity", "task": "hired", "column": "sex"}]},
    }
    project = parse_project(content)
    assert project.needed_columns == ["id", "age", "h", "p", "sex"]
    assert project.training.fairness[0].gap == 0.05
    rule = content["training"]["fairness"][0]
    for key, value, said in [
        ("task", "pay", "training.fairness.0.task: 'pay' is no binary task; binary tasks are hired"),
        ("task", "hird", "training.fairness.0.task: 'hird' is no binary task; did you mean 'hired'?"),
        ("column", "age", "training.fairness.0.column: 'age' does not stand in data.sensitive; list it there"),
        ("kind", "parity", "training.fairness.0.kind: 'parity' is unknown"),
        ("gap", 0.0, "training.fairness.0.gap: found 0.0; input should be greater than or equal to 0.01"),
    ]:
        content["training"]["fairness"] = [rule | {key: value}]
        with pytest.raises(ParamsError) as refused:
            parse_project(content)
        assert said in str(refused.value)


# --- a planted world: a stand-in of the group is among the inputs -----------------------------------------


class World:
    """Two tasks; the first follows from a group that is no input, but another input tells of it."""

    def __init__(self, rows: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.group = generator.integers(0, 2, rows)
        side, inputs = self.group - 0.5, generator.normal(size=(rows, 6))
        inputs[:, 5] = 1.8 * side + 0.6 * inputs[:, 5]
        logits = 1.6 * inputs[:, 0] + 0.8 * inputs[:, 1] + 1.4 * side, inputs[:, 0] + 1.2 * inputs[:, 2] - inputs[:, 3]
        drawn = generator.random((2, rows))
        self.inputs = torch.from_numpy(inputs.astype(np.float32))
        self.labels = torch.from_numpy((drawn < 1 / (1 + np.exp(-np.stack(logits)))).astype(np.float32)).T


def predicted(world: World, made: GroupPenalty | None, fresh: World, epochs: int = 6, batch: int = 256) -> Any:
    """Return the probabilities of both tasks on fresh rows, of a network trained on `world`."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(world.inputs) // batch))
    group, generator = torch.from_numpy(world.group), torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for rows in torch.randperm(len(world.inputs), generator=generator).split(batch)[:-1]:
            outputs, labels = network(world.inputs[rows]), world.labels[rows]
            loss = nn.functional.binary_cross_entropy_with_logits(outputs, labels) / np.log(2)
            if made is not None:
                loss = loss + made(outputs[:, 0], group[rows], labels[:, 0], 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        return torch.sigmoid(network(fresh.inputs)).numpy()


def test_a_gap_that_a_stand_in_of_the_group_causes_is_closed_at_a_small_cost() -> None:
    from sklearn.metrics import roc_auc_score

    world, fresh = World(12_000, 11), World(10_000, 12)
    gaps, aucs = [], []
    for made in (None, penalty()):
        found = predicted(world, made, fresh)
        aucs.append([roc_auc_score(fresh.labels[:, task], found[:, task]) for task in range(2)])
        task = evidence("binary", fresh.labels[:, 0], found[:, :1], {"prevalence": 0.5}, threshold=0.5)
        gaps.append(one_task(task, fresh.group)["gaps"]["selection_rate"])
    assert 0.2 < gaps[0]["value"] < 0.26
    assert gaps[1]["value"] <= 0.07
    assert aucs[1][0] >= 0.79
    assert abs(aucs[1][1] - aucs[0][1]) < 0.01, "the other task is as good as before"
    assert gaps[1]["interval"][1] < 0.1 < gaps[0]["interval"][0], (
        "a gate at 0.1 refuses the first and passes the second"
    )


def test_equal_opportunity_is_closed_among_the_positives() -> None:
    world, fresh = World(12_000, 11), World(10_000, 12)
    gaps = []
    for made in (None, penalty(kind="equal_opportunity", gap=0.02)):
        found = predicted(world, made, fresh)
        task = evidence("binary", fresh.labels[:, 0], found[:, :1], {"prevalence": 0.5}, threshold=0.5)
        gaps.append(one_task(task, fresh.group)["gaps"]["true_positive_rate"]["value"])
    assert gaps[0] > 0.08
    assert gaps[1] <= 0.05
