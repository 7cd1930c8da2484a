"""Sampling: quotas are met, draws follow their law, weights leave the objective as declared, steps are as many."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats
from torch import Tensor
from world import params

from trunkline.balance import EqualWeights
from trunkline.errors import ParamsError
from trunkline.nets.declarations import MLPTrunk
from trunkline.project import parse_project
from trunkline.training.batches import Batch, Rows, epoch_batches
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.fit import Arm, Fitted, _Trainer, fit
from trunkline.training.sampling import Sampling
from trunkline.training.sampling._label_aware import importance, interleaved
from trunkline.training.sampling._sampler import Feed, Sampler
from trunkline.training.sampling._tasks import tables_of
from trunkline.training.sampling.bandit import exp3s, probabilities
from trunkline.training.sampling.laws import Table, When

CPU = torch.device("cpu")
SIZES = (2000, 300, 60)
LAWS: dict[str, dict[str, Any]] = {
    "proportional": {"kind": "proportional"},
    "square_root": {"kind": "square_root"},
    "temperature": {"kind": "temperature", "temperature": 5.0, "cap": 500},
    "uniform": {"kind": "uniform"},
    "annealed": {"kind": "annealed"},
    "bandit": {"kind": "bandit", "every": 4},
    "pretrain_then_joint": {"kind": "pretrain_then_joint", "tasks": ["t0"], "share": 0.4},
}
EVERY: dict[str, dict[str, Any]] = {
    "shuffle": {"kind": "shuffle"},
    "label_aware": {"kind": "label_aware", "min_labelled": 5},
    **LAWS,
}


def rule(content: dict[str, Any]) -> Any:
    return TypeAdapter(Sampling).validate_python(content)


def state_of(kind: str) -> dict[str, Any]:
    common = {"kind": kind, "outputs": 1, "bias": [0.0], "constant_loss": 1.0 if kind == "regression" else 0.6931}
    return common | ({"center": 0.0, "spread": 1.0, "clip": None, "loss": "squared"} if kind == "regression" else {})


def rows_of(targets: np.ndarray) -> Rows:
    """Rows whose one feature is their place."""
    count = len(targets)
    features = np.arange(count, dtype=np.float32)[:, None]
    nothing = torch.zeros(count, 0, dtype=torch.int32)
    return Rows(features, nothing.numpy(), torch.from_numpy(targets).float(), nothing, torch.zeros(count, 0))


def feed_of(targets: np.ndarray, kinds: tuple[str, ...] = (), seeds: tuple[int, ...] = (1,), **recipe: Any) -> Feed:
    kinds = kinds or ("regression",) * targets.shape[1]
    states = {f"t{place}": state_of(kind) for place, kind in enumerate(kinds)}
    declared = Training(**{"batch": 20, "epochs": 3, "device": "cpu", **recipe})
    return Feed(rows_of(targets), states, dict.fromkeys(states, 1.0), declared, seeds)


def tables(sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Labels of one task per table; each row has one label, its place."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return np.where(owner[:, None] == np.arange(len(sizes)), np.arange(len(owner), dtype=float)[:, None], np.nan)


def batches_of(sampler: Sampler, epochs: range | tuple[int, ...] = (0,)) -> list[Batch]:
    found = []
    for epoch in epochs:
        for batch in sampler.epoch(epoch, CPU):
            found.append(batch)
            sampler.observe(torch.where(batch.targets.isnan().all(dim=1), 0.0, 1.0))
    return found


def owners(batches: list[Batch]) -> Tensor:
    """Return the one task that has labels in each step, [steps, members]."""
    known = torch.stack([~batch.targets.isnan() for batch in batches])
    assert (known.any(dim=2).sum(dim=-1) == 1).all()
    return known.any(dim=2).int().argmax(dim=-1)


# --- label-aware batches ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    coverage=st.lists(st.floats(0.002, 1.0), min_size=1, max_size=4),
    batch=st.integers(64, 200),
    wanted=st.integers(1, 6),
    of_class=st.integers(0, 3),
    seed=st.integers(0, 10**6),
)
def test_every_batch_meets_every_quota(
    coverage: list[float], batch: int, wanted: int, of_class: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    targets = (chance.random((600, len(coverage))) < 0.05).astype(float)
    targets[chance.random(targets.shape) >= coverage] = np.nan
    targets[: len(coverage)][np.diag_indices(len(coverage))] = 1.0  # each task has a label
    feed = feed_of(targets, ("binary",) * len(coverage), seeds=(1, 2), batch=batch)
    kind = {"kind": "label_aware", "min_labelled": wanted, "min_per_class": of_class}
    batches = batches_of(rule(kind).build(feed))
    assert len(batches) == feed.steps
    for place, held in enumerate(targets.T):
        for label, fewest in ((None, wanted), (0, of_class), (1, of_class)):
            there = int((~np.isnan(held)).sum() if label is None else (held == label).sum())
            for batch_ in batches:
                own = batch_.targets[..., place]
                seen = ~own.isnan() if label is None else own == label
                assert (seen.sum(dim=1) >= min(fewest, there)).all()
    assert all(part.features.shape == (2, batch, 1) for part in batches)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_every_class_of_several_is_in_every_batch_and_its_rows_count_as_declared(kind: str) -> None:
    classes = np.repeat([0.0, 1.0, 2.0, 3.0], [1500, 480, 18, 2])
    feed = feed_of(classes[:, None], batch=100)
    feed.states["t0"] |= {"kind": kind, "classes": ["a", "b", "c", "d"]}
    sampler = rule({"kind": "label_aware", "min_labelled": 5, "min_per_class": 3}).build(feed)
    assert [(each["class"], each["rows"]) for each in sampler.facts()["apart"]] == [(1, 2), (2, 3), (3, 2)]
    counted = torch.zeros(4, dtype=torch.float64)
    batches = batches_of(sampler, range(40))
    for batch in batches:
        held = [batch.targets[0, :, 0] == place for place in range(4)]
        assert all(int(each.sum()) >= fewest for each, fewest in zip(held, (3, 3, 3, 2), strict=True))
        counted += torch.stack([batch.weights[0, each, 0].double().sum() / 100 for each in held])
    shares = torch.tensor([1500, 480, 18, 2]) / 2000
    assert torch.allclose(counted / len(batches), shares.double(), rtol=0.05, atol=2e-4)


def test_the_weights_give_every_task_its_declared_mean_over_all_outcomes() -> None:
    """Five rows, four slots: two as they come, one of task b, one of class 1 of task a; each outcome is tried."""
    a = torch.tensor([1.0, 0.0, torch.nan, 0.0, 0.0])
    b = torch.tensor([torch.nan, torch.nan, torch.nan, 5.0, 6.0])
    targets, losses = torch.stack([a, b], dim=1), torch.tensor([[3.0, 1.0, 9.0, 4.0, 8.0], [9.0, 9.0, 9.0, 2.0, 7.0]]).T
    known = ~targets.isnan()
    pools = torch.stack([torch.ones(5, dtype=torch.bool), known[:, 1], a == 1], dim=1)
    labels = torch.tensor([[4.0, 2.0], [2.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    slot, found, plain, total = torch.tensor([0, 0, 1, 2]), [], [], []
    for free in itertools.combinations(range(5), 2):
        for of_b in (3, 4):
            rows = torch.tensor([*free, of_b, 0])
            here = known[rows]
            weights = importance(here, pools[rows], slot, labels)
            found.append((weights * losses[rows] * here).sum(dim=0) / here.sum(dim=0))
            plain.append((losses[rows] * here).sum(dim=0) / here.sum(dim=0))
            total.append((weights * here).sum(dim=0) / here.sum(dim=0))
    wanted = torch.stack([losses[known[:, task], task].mean() for task in range(2)])
    assert torch.allclose(torch.stack(found).mean(dim=0), wanted, atol=1e-6)
    assert torch.allclose(torch.stack(total).mean(dim=0), torch.ones(2), atol=1e-6)
    assert abs(torch.stack(plain).mean(dim=0)[0] - wanted[0]) > 0.1  # the world can fail


def test_the_mean_over_many_batches_is_the_declared_objective_and_without_weights_another() -> None:
    """Task 1 is labelled, and task 0 large, in the same few rows, which its quota shows far too often."""
    chance = np.random.default_rng(0)
    rare = np.arange(600) < 12
    targets = np.stack([chance.normal(size=600) + 5 * rare, np.where(rare, chance.normal(size=600), np.nan)], axis=1)
    targets[chance.random(600) < 0.3, 0] = np.nan
    feed = feed_of(targets, batch=40)
    sampler = rule({"kind": "label_aware", "min_labelled": 8}).build(feed)
    weighted, plain = [], []
    for batch in batches_of(sampler, range(60)):
        known = ~batch.targets.isnan()
        value = batch.targets.nan_to_num()
        weighted.append(((batch.weights * value * known).sum(dim=1) / known.sum(dim=1))[0])
        plain.append((value.sum(dim=1) / known.sum(dim=1))[0])
    estimates, wanted = torch.stack(weighted).double().numpy(), np.nanmean(targets, axis=0)
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    assert (abs(estimates.mean(axis=0) - wanted) < 4 * error).all()
    assert torch.stack(plain).mean(dim=0)[0] - wanted[0] > 0.5


def test_a_tasks_own_quota_alone_needs_no_weights() -> None:
    targets = np.where(np.arange(1000) < 30, np.arange(1000.0), np.nan)[:, None]
    for batch in batches_of(rule({"kind": "label_aware"}).build(feed_of(targets, batch=128))):
        known = ~batch.targets.isnan()
        assert torch.allclose(batch.weights[known], torch.ones(1), atol=1e-6)


def test_with_plenty_of_labels_it_is_the_shuffle() -> None:
    feed = feed_of(np.ones((500, 2)), batch=200, seeds=(3, 4))
    ours = batches_of(rule({"kind": "label_aware"}).build(feed))
    theirs = list(epoch_batches(feed.rows, 200, 10**6, (3, 4), 0, CPU))
    assert all(torch.equal(*pair) for batches in zip(ours, theirs, strict=True) for pair in zip(*batches, strict=True))


def test_rows_set_apart_stand_all_over_the_batch() -> None:
    slot = interleaved([96, 32])
    assert [(slot[:count] == 1).sum().item() for count in (32, 64, 128)] == [8, 16, 32]


def test_quotas_that_leave_no_room_are_refused() -> None:
    few = np.where(np.arange(2000)[:, None] // 40 == np.arange(12), 1.0, np.nan)
    with pytest.raises(ParamsError, match=r"sampling\.min_labelled.* take 384 of the 512 of a step"):
        rule({"kind": "label_aware"}).build(feed_of(few, batch=512))


# --- steps of one table -----------------------------------------------------------------------------------


def test_tasks_with_the_same_rows_are_one_table_and_a_few_missing_labels_do_not_part_them() -> None:
    together = torch.tensor([[95.0, 90, 0, 10], [90, 95, 0, 10], [0, 0, 50, 0], [10, 10, 0, 10]])
    assert tables_of(together) == [[0, 1], [2], [3]]


def expected(kind: str, when: When) -> np.ndarray:
    """Return what the papers' formulas say."""
    sizes = np.array(SIZES, dtype=float)
    exponents = {"proportional": 1.0, "square_root": 0.5, "uniform": 0.0, "temperature": 0.2}
    if kind == "temperature":
        sizes = np.minimum(sizes, 500)
    if kind == "annealed":
        exponents["annealed"] = 1 - 0.8 * when.epoch / (when.epochs - 1)
    if kind == "pretrain_then_joint":
        if when.step < 0.4 * when.steps:
            return np.array([1.0, 0.0, 0.0])
        exponents[kind] = 0.5
    shares = sizes ** exponents[kind]
    return shares / shares.sum()


@pytest.mark.parametrize("kind", sorted(set(LAWS) - {"bandit"}))
def test_draws_follow_their_law(kind: str) -> None:
    """Over all members of an epoch: no single draw of a thousand steps decides."""
    feed = feed_of(tables(), batch=4, epochs=4, seeds=tuple(range(8)))
    sampler = rule(LAWS[kind]).build(feed)
    for epoch in range(4):
        drawn = owners(batches_of(sampler, (epoch,)))
        moments = [When(epoch, 4, epoch * feed.steps + step, 4 * feed.steps) for step in range(feed.steps)]
        wanted = 8 * np.sum([expected(kind, when) for when in moments], axis=0)
        counts = np.bincount(drawn.flatten().numpy(), minlength=3)
        likely = wanted > 0
        assert (counts[~likely] == 0).all()
        if likely.sum() > 1:
            assert stats.chisquare(counts[likely], wanted[likely]).pvalue > 0.001
    assert (np.array(sampler.facts()["steps"]).sum(axis=1) == 4 * feed.steps).all()


def test_the_annealed_exponent_falls_as_in_the_paper() -> None:
    law = rule({"kind": "annealed"})
    found = [law.exponent(When(epoch, 5, 0, 1)) for epoch in range(5)]
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert law.exponent(When(0, 1, 0, 1)) == 1


@pytest.mark.parametrize("kind", LAWS)
def test_a_step_holds_rows_and_labels_of_one_table_and_meets_each_row_as_often(kind: str) -> None:
    feed = feed_of(tables((200, 60, 20)), batch=10, epochs=8)
    seen = torch.zeros(280)
    for batch in batches_of(rule(LAWS[kind]).build(feed), range(8)):
        known = ~batch.targets[0].isnan()
        assert known.all(dim=0).sum() == 1
        assert known.any(dim=1).all()
        seen += torch.bincount(batch.features[0, :, 0].long(), minlength=280)
    for part in seen.split([200, 60, 20]):
        assert part.max() - part.min() <= 8  # a row is dealt again when all others were; decks start anew each epoch


def test_labels_of_another_table_in_the_same_rows_are_hidden() -> None:
    targets = np.stack([np.arange(400.0), np.where(np.arange(400) < 40, 1.0, np.nan)], axis=1)
    batches = batches_of(rule({"kind": "uniform"}).build(feed_of(targets)))
    found = owners(batches)
    assert set(found.flatten().tolist()) == {0, 1}


def test_only_the_first_tasks_are_learned_at_first_even_in_shared_rows() -> None:
    feed = feed_of(np.ones((400, 2)), epochs=2)
    sampler = rule(LAWS["pretrain_then_joint"]).build(feed)
    known = torch.stack([~batch.targets[0].isnan().all(dim=0) for batch in batches_of(sampler, range(2))])
    assert known[:, 0].all()
    assert known[:, 1].tolist() == [step >= 0.4 * 2 * feed.steps for step in range(2 * feed.steps)]


@pytest.mark.parametrize("kind", EVERY)
def test_rows_held_in_memory_change_no_batch(kind: str) -> None:
    """Rows are gathered in pieces where memory asks for it."""
    ours, theirs = (
        batches_of(rule(EVERY[kind]).build(feed_of(tables(), shuffle_rows=held, batch=100, seeds=(1, 2))), range(2))
        for held in (10**6, 2500)
    )
    assert len(ours) == len(theirs) == 2 * 23
    assert all(torch.equal(one.features, other.features) for one, other in zip(ours, theirs, strict=True))


# --- the bandit -------------------------------------------------------------------------------------------


def test_exp3s_is_that_of_the_paper() -> None:
    """Against the update on plain weights, in the numbers of Auer et al.: gamma explores, alpha = 1 / t shares."""
    chance, speed, explore = np.random.default_rng(0), 0.3, 0.1
    logs, plain = np.zeros(4), np.ones(4)
    for step in range(2, 60):
        shares = probabilities(logs, explore)
        assert shares == pytest.approx((1 - explore) * plain / plain.sum() + explore / 4)
        drawn, reward = int(chance.integers(4)), float(chance.uniform(-1, 1))
        grown = plain * np.exp(speed * np.where(np.arange(4) == drawn, reward / shares[drawn], 0.0))
        plain = (1 - 1 / step) * grown + (1 / step) / 3 * (grown.sum() - grown)
        logs = exp3s(logs, drawn, reward, float(shares[drawn]), step, speed)


def test_the_bandit_draws_what_makes_progress_and_goes_on_trying_the_rest() -> None:
    sampler = rule({"kind": "bandit", "every": 5, "speed": 0.1}).build(feed_of(tables((900, 900, 900)), batch=4))
    level = torch.ones(3)
    for epoch in range(2):
        for batch in sampler.epoch(epoch, CPU):
            known = ~batch.targets[0].isnan().all(dim=0)
            level = torch.where(known & (torch.arange(3) == 1), level * 0.99, level)  # only task 1 can be learned
            sampler.observe((level * known)[None])
    shares = sampler.facts()["probabilities"][0]
    assert shares[1] > 0.8
    assert min(shares) >= 0.1 / 3 - 1e-9


# --- in training ------------------------------------------------------------------------------------------


def planted(targets: int = 3, count: int = 480) -> tuple[Rows, dict[str, Any]]:
    chance = np.random.default_rng(2)
    inputs = chance.normal(size=(count, 5)).astype(np.float32)
    labels = inputs @ chance.normal(size=(5, targets)) / 2
    labels[np.arange(count)[:, None] % 7 < np.arange(targets) * 3] = np.nan
    labels = (labels - np.nanmean(labels, axis=0)) / np.nanstd(labels, axis=0)
    rows = rows_of(labels)
    return rows._replace(features=inputs), {f"t{place}": state_of("regression") for place in range(targets)}


def trained(
    kind: dict[str, Any], folder: Path, seeds: tuple[int, ...] = (5,), stop_after: int | None = None, **recipe: Any
) -> list[Fitted]:
    rows, states = planted()
    arm = arm_of(kind, states, **recipe)

    def report(line: str) -> None:
        if stop_after is not None and line.startswith(f"epoch {stop_after + 1}/"):
            raise KeyboardInterrupt

    return fit(arm, rows, rows, seeds, Checkpoints(folder, "x"), report)


def arm_of(kind: dict[str, Any], states: dict[str, Any], **recipe: Any) -> Arm:
    training = Training(
        **{"epochs": 3, "batch": 32, "device": "cpu", "learning_rate": 0.01, "normalize": "off", **recipe}
    )
    trunk, weights = MLPTrunk(width=8, depth=1), dict.fromkeys(states, 1.0)
    return Arm(
        "shared", states, weights, 5, [], trunk, EqualWeights(), training, sampling=rule(kind).restricted(states)
    )


def weights_of(fitted: Fitted) -> Tensor:
    return torch.cat([value.flatten() for value in fitted.network.state_dict().values()])


@pytest.mark.parametrize("kind", EVERY)
def test_a_training_that_was_stopped_ends_with_the_same_bytes_and_seeds_end_as_by_themselves(
    kind: str, tmp_path: Path
) -> None:
    together = trained(EVERY[kind], tmp_path / "whole", (5, 6))
    with pytest.raises(KeyboardInterrupt):
        trained(EVERY[kind], tmp_path / "stopped", (5, 6), stop_after=2)
    resumed = trained(EVERY[kind], tmp_path / "stopped", (5, 6))
    for one, other in zip(together, resumed, strict=True):
        assert torch.equal(weights_of(one), weights_of(other))
        assert one.history == other.history
        assert one.sampling == other.sampling
    single = trained(EVERY[kind], tmp_path / "single", (6,))[0]
    assert torch.equal(weights_of(single), weights_of(together[1]))
    assert not torch.equal(weights_of(together[0]), weights_of(together[1]))


@pytest.mark.parametrize("kind", EVERY)
def test_the_steps_are_as_many_under_every_rule_and_labels_are_counted(kind: str, tmp_path: Path) -> None:
    fitted = trained(EVERY[kind], tmp_path)[0]
    steps = 480 // 32
    if kind == "shuffle":
        assert fitted.sampling is None
        assert not any(name.startswith("labels.") for name in fitted.history[0])
        return
    shown = np.array([[row[f"labels.t{place}"] for place in range(3)] for row in fitted.history])
    if kind == "label_aware":
        assert (shown[:, 2] >= 5 * steps).all()
        assert shown[:, 0].tolist() == [480] * 3  # labelled in every row
    else:
        assert sum(fitted.sampling["steps"][0]) == 3 * steps
        assert (shown.sum(axis=1) <= 2 * steps * 32).all()
    assert all(np.isfinite(list(row.values())).all() for row in fitted.history)


def test_a_loss_of_the_history_is_over_the_steps_that_had_the_task(tmp_path: Path) -> None:
    """With nothing learned it is the loss of the start, however seldom the task is drawn."""
    fitted = trained(LAWS["proportional"], tmp_path, learning_rate=1e-12, epochs=1, warmup=0.9, unseen_rate=0.0)[0]
    for name, start in fitted.start_losses.items():
        assert fitted.history[0][f"train.{name}"] == pytest.approx(start, rel=0.3)


def test_the_step_size_starts_anew_where_all_tasks_begin(tmp_path: Path) -> None:
    law = rule(LAWS["pretrain_then_joint"])
    assert [law.part(step, 45) for step in (0, 17, 18, 44)] == [(0, 18), (0, 18), (18, 45), (18, 45)]
    assert rule({"kind": "shuffle"}).part(17, 45) == (0, 45)
    rows, states = planted()
    arm = arm_of(LAWS["pretrain_then_joint"], states, warmup=0.1)
    trainer = _Trainer(arm, rows, rows, (5,), Checkpoints(tmp_path, "x"), lambda line: None, None)
    rates = [trainer._schedule(step) for step in range(45)]
    assert rates[17] < 0.02 < rates[18] < rates[19] < rates[20] == 1
    assert rates[44] < 0.02


# --- what may be declared ---------------------------------------------------------------------------------


def test_a_step_at_least_is_left_for_all_tasks() -> None:
    law = rule({"kind": "pretrain_then_joint", "tasks": ["a"], "share": 0.95})
    assert [law.learned(When(0, 1, step, 10)) for step in (8, 9)] == [["a"], None]
    assert (law.begins("a"), law.begins("b"), rule({"kind": "shuffle"}).begins("b")) == (0.0, 0.95, 0.0)


def test_an_arm_of_other_tasks_follows_the_same_rule() -> None:
    law = rule({"kind": "pretrain_then_joint", "tasks": ["a", "b"]})
    assert law.restricted(["b", "c"]).tasks == ["b"]
    assert law.restricted(["c"]).tasks == ["c"]
    assert law.restricted(["c"]).shares([Table(("c",), 10)], When(0, 1, 0, 10)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"kind": "sqrt"}, "sampling.kind: 'sqrt' is unknown; choose one of shuffle, label_aware, proportional"),
        ({"kind": "pretrain_then_joint", "tasks": ["chrun"]}, "sampling.tasks: 'chrun' is no task; did you mean"),
        ({"kind": "temperature", "temperature": 0.5}, "sampling.temperature: found 0.5"),
        ({"kind": "bandit", "explore": 0.0}, "sampling.explore: found 0.0"),
        ({"kind": "label_aware", "min_labelled": 2000}, "sampling.min_labelled: found 2000, but a step has"),
        ({"kind": "label_aware", "min_per_class": 600}, "sampling.min_per_class: found 600, but a step has"),
    ],
)
def test_what_makes_no_sense_is_refused(sampling: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError) as refused:
        parse_project(params(sampling=sampling))
    assert words in str(refused.value)


def test_fairness_penalties_and_drawn_rows_are_not_mixed() -> None:
    penalty = {"kind": "demographic_parity", "task": "churn", "column": "city", "gap": 0.05}
    content = params(sampling={"kind": "uniform"}, training={"fairness": [penalty]}, data={"sensitive": ["city"]})
    with pytest.raises(ParamsError, match=r"sampling\.kind: uniform draws rows more or less often"):
        parse_project(content)
