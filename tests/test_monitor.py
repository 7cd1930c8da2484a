"""Monitoring: looks are what the steps did, alarms come once and only where something is wrong, NaN names its task."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from test_training import planted_arm, quiet, run
from torch import Tensor
from world import split_project

from trunkline.balance.base import Array, GradientMethod, LossMethod, Moment, Seen
from trunkline.errors import DataError
from trunkline.files import check_seal, read_json
from trunkline.nets.network import Network
from trunkline.nets.sharing import LoRA
from trunkline.nets.stack import stack
from trunkline.nets.trunks import MLPTrunk
from trunkline.tasks._modules import Losses
from trunkline.training.affinity import AffinityMeter, Series, last_layer_gradients
from trunkline.training.arm_files import weight_bytes
from trunkline.training.batches import Batch, Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Monitor
from trunkline.training.engine import gradients, shared_layer
from trunkline.training.fit import Arm, Fitted, fit
from trunkline.training.monitoring import rules
from trunkline.training.monitoring.alarms import Alarms
from trunkline.training.monitoring.constants import constant_losses
from trunkline.training.monitoring.record import MOST, QUANTITIES, Record
from trunkline.training.monitoring.steps import GRADIENT, LOSS, LastSteps
from trunkline.training.monitoring.watch import Watch, Watched

TASKS = ["a", "b", "c"]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def watch_of(arm: Arm, monitor: Monitor, selection: Rows, seeds: int, said: list[str]) -> tuple[AffinityMeter, Watch]:
    meter = AffinityMeter(list(arm.states), seeds, monitor)
    recipe = arm.training
    watched = Watched(
        arm.states, arm.weights, arm.balance.kind, recipe.normalize, recipe.epochs, seeds,
        trained=list(arm.states.values()), begins=dict.fromkeys(arm.states, 0.0),
    )  # fmt: skip
    return meter, Watch(watched, monitor, selection, meter, said.append)


def test_what_a_setting_does_on_purpose_is_no_alarm() -> None:
    """Of three tasks without skill one is auxiliary, and one is learned from the second half of the steps on only."""
    states = {name: {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared",
                     "spread": 1.0, "center": 0.0, "clip": None} for name in TASKS}  # fmt: skip
    nothing = torch.zeros(8, 0)
    rows = Rows(np.zeros((8, 1), np.float32), np.zeros((8, 0), np.int32), torch.randn(8, 3), nothing, nothing)
    watched = Watched(
        states, dict.fromkeys(TASKS, 1.0), "equal", "constant", 10, 1,
        trained=list(states.values()), begins={"a": 0.0, "b": 0.0, "c": 0.5}, auxiliary=("b",),
    )  # fmt: skip
    said: list[str] = []
    watch = Watch(watched, Monitor(), rows, None, said.append)
    poor = {f"validation.{name}": 9.0 for name in TASKS}
    watch.alarms.take(1, list(watch._of_epoch(4, {0: torch.full((4, 3), 9.0, dtype=torch.float64)}, {0: []})))
    assert [("'a'" in line, "'c'" in line) for line in said if "skill" in line] == [(True, False), (False, False)]
    watch.alarms.take(2, list(watch._of_epoch(7, {0: torch.full((7, 3), 9.0, dtype=torch.float64)}, {0: []})))
    assert any("'c'" in line for line in said)
    said.clear()
    watch.end(3, [[poor]], [1])
    assert said and not any("'b'" in line for line in said)


# --- looks ------------------------------------------------------------------------------------------------


def test_a_training_leaves_looks_at_every_task_and_says_nothing_of_a_sound_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = split_project(tmp_path, training={"seeds": 2, "epochs": 2}, monitor={"every": 5})
    run(tmp_path, project, "encode", "train")
    folder = tmp_path / "models" / "shared"
    assert "monitor.tsv" in check_seal(folder)["files"]
    rows = table(folder / "monitor.tsv")
    assert [(row["seed"], row["step"], row["task"]) for row in rows[:4]] == [
        ("0", "5", "churn"), ("0", "5", "plan"), ("0", "5", "spend"), ("0", "10", "churn"),
    ]  # fmt: skip
    assert len(rows) == 2 * 6 * 3
    churn = [row for row in rows if row["seed"] == "1" and row["task"] == "churn"]
    assert float(churn[-1]["loss"]) < float(churn[0]["loss"])
    assert float(churn[0]["skill"]) == pytest.approx(1 - float(churn[0]["loss"]))
    assert all(float(row["weight"]) == pytest.approx(1 / 3) for row in rows)
    labelled = {
        task: np.mean([float(row["labelled"]) for row in rows if row["task"] == task]) for task in ("churn", "spend")
    }
    assert labelled["churn"] / 64 == pytest.approx(0.9, abs=0.03)
    assert labelled["spend"] / 64 == pytest.approx(0.7, abs=0.03)
    affinity = read_json(folder / "affinity.json")["seeds"][1]
    for place, task in enumerate(("churn", "plan", "spend")):
        looks = [row for row in rows if row["seed"] == "1" and row["task"] == task]
        assert np.mean([float(row["norm"]) for row in looks]) == pytest.approx(affinity["norm"][place])
        others = [cosine for other, cosine in enumerate(affinity["cosine"][place]) if other != place]
        assert np.mean([float(row["cosine"]) for row in looks]) == pytest.approx(np.mean(others))
    assert read_json(folder / "run.json")["alarms"] == []
    assert "alarm" not in capsys.readouterr().out


@pytest.mark.parametrize("balance", [{"kind": "log"}, {"kind": "upgrad", "every": 1}])
def test_watching_changes_no_byte_and_sees_the_weights_of_the_step(tmp_path: Path, balance: dict[str, Any]) -> None:
    arm, train, selection = planted_arm(tmp_path, epochs=1, balance=balance)
    plain = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "plain", "x"), quiet)
    meter, watch = watch_of(arm, Monitor(every=1, lookahead=0), selection, 2, [])
    seen = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "seen", "x"), quiet, meter, watch)
    for one, other in zip(plain, seen, strict=True):
        assert weight_bytes(one.network) == weight_bytes(other.network)
    look = watch.record.kept[-1]
    loss, weight = (look[QUANTITIES.index(name)] for name in ("loss", "weight"))
    if balance["kind"] == "log":  # the gradient of the mean of log(loss + 0.001)
        torch.testing.assert_close(weight, 1 / (3 * (loss + 1e-3)), atol=1e-4, rtol=1e-4)
    else:
        assert not torch.equal(weight[0], weight[1])
        assert (weight > 0).all()


def test_losses_in_raw_units_are_written_as_shares_of_the_constants(tmp_path: Path) -> None:
    arm, train, selection = planted_arm(tmp_path, epochs=1, normalize="off")
    meter, watch = watch_of(arm, Monitor(every=1, lookahead=0), selection, 1, [])
    fit(arm, train, selection, [5], Checkpoints(tmp_path / "x", "x"), quiet, meter, watch)
    assert (watch.record.kept[0][0] < 2).all()  # euro squared would be a hundred


def test_a_long_training_keeps_few_looks_and_their_mean() -> None:
    record = Record()
    looks = torch.randn(
        len(QUANTITIES), 2, 3, MOST * 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    looks[0, 1, 2, 0] = torch.nan
    for step in range(MOST * 5):
        record.add(step, looks[..., step])
    assert MOST // 2 <= len(record.kept) <= MOST
    assert record.length == 8
    assert record.steps[:2] == [7, 15]
    known = ~looks[..., :8].isnan().any(dim=-1)
    torch.testing.assert_close(record.kept[0][known], looks[..., :8].mean(dim=-1)[known])
    assert record.kept[0].isfinite().all(), "what one look does not know, the others do"
    saved, again = record.state_dict(), Record()
    again.load_state_dict(saved)
    for each in (record, again):
        each.add(MOST * 5, looks[..., 0])
    assert torch.equal(record.kept[-1], again.kept[-1])
    assert record.steps == again.steps


def test_the_last_steps_mean_over_those_with_a_label() -> None:
    last = LastSteps(2, 1, 2, torch.device("cpu"))
    for step, (losses, labelled) in enumerate([([1.0, 0.0], [3.0, 0.0]), ([2.0, 5.0], [1.0, 4.0])]):
        noted = last.note(step)
        noted.losses[0], noted.labelled[0] = torch.tensor(losses), torch.tensor(labelled)
        noted.weights[0] = torch.tensor([0.25, 0.75])
    found = last.stretch()
    assert found.loss.tolist() == [[1.25, 5.0]]
    assert found.weight.tolist() == [[0.25, 0.75]]
    assert found.labelled.tolist() == [[2.0, 2.0]]


def test_gates_are_seen_after_every_epoch(tmp_path: Path) -> None:
    changes = {"training": {"seeds": 2, "epochs": 3}, "sharing": {"kind": "mmoe", "experts": 2}}
    project = split_project(tmp_path, 600, **changes, monitor={"alarms": {"gate_load": 0.2}})
    run(tmp_path, project, "encode", "train")
    rows = table(tmp_path / "models" / "shared" / "gates.tsv")
    assert len(rows) == 3 * 2 * 3 * 2
    assert {row["epoch"] for row in rows} == {"1", "2", "3"}
    loads = [float(row["load"]) for row in rows]
    assert [one + other for one, other in zip(loads[::2], loads[1::2], strict=True)] == pytest.approx([1.0] * 18)
    alarms = read_json(tmp_path / "models" / "shared" / "run.json")["alarms"]
    collapsed = [alarm for alarm in alarms if alarm["kind"] == "gate_collapse"]
    assert [(alarm["task"], alarm["seeds"]) for alarm in collapsed] == [
        (task, [0, 1]) for task in ("churn", "plan", "spend")
    ]


# --- resume -----------------------------------------------------------------------------------------------


def test_a_training_that_was_interrupted_has_seen_the_same(tmp_path: Path) -> None:
    """Looks across an epoch's end, alarms not raised again, gates of the epochs before."""
    arm, train, selection = planted_arm(tmp_path, epochs=4, balance={"kind": "log"})
    monitor = Monitor.model_validate({"every": 4, "lookahead": 0, "alarms": {"skill": 0.9, "norm_ratio": 1.01}})

    def trained(folder: str, stop: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
        said: list[str] = []
        meter, watch = watch_of(arm, monitor, selection, 2, said)

        def report(line: str) -> None:
            if stop and line.startswith(f"epoch {stop}"):
                raise KeyboardInterrupt

        fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / folder, "x"), report, meter, watch)
        return watch.tables(4), watch.alarms.raised, said

    whole, alarms, said = trained("whole")
    assert alarms
    with pytest.raises(KeyboardInterrupt):
        trained("cut", stop=3)
    again, known, later = trained("cut")
    assert (again, known) == (whole, alarms)
    assert len(later) < len(said), "what was said before the cut is not said again"


# --- alarms -----------------------------------------------------------------------------------------------


def recent(**quantities: list[float]) -> Tensor:
    """Return the mean of the last looks of one seed."""
    even = {"loss": [0.9, 0.9, 0.9], "norm": [1.0, 1.0, 1.0], "weight": [1 / 3] * 3}
    rows = [(even | quantities).get(name, [math.nan] * 3) for name in QUANTITIES]
    return torch.tensor(rows, dtype=torch.float64)[:, None]


def test_a_task_whose_gradient_is_drowned_is_found_unless_it_is_ahead() -> None:

    def found(method: str = "equal", **quantities: list[float]) -> list[Any]:
        return list(rules.drowned(TASKS, recent(**quantities), 30, method, "constant"))

    assert found() == []
    assert found(norm=[1.0, 20.0, 1.0]) == []
    [alarm] = found(norm=[1.0, 40.0, 10.0])
    assert (alarm.kind, alarm.task) == ("norm_ratio", "a")
    assert alarm.do == "set balance.kind: log or uncertainty"
    assert "of 'b' at the shared layers is 40 times as long" in alarm.seen
    assert found(norm=[1.0, 40.0, 10.0], loss=[0.1, 0.9, 0.9]) == []
    assert found(norm=[1.0, 40.0, 10.0], weight=[0.8, 0.1, 0.1]) == [], "the balance makes up for it"
    assert found("log", norm=[1.0, 2.0, 1.0], weight=[0.01, 0.9, 0.1]) == [], "the balance alone does it"
    assert found(norm=[math.nan, 1.0, 1.0]) == []


def test_a_task_that_the_balance_leaves_nothing_is_found_unless_it_is_ahead_or_was_declared_so() -> None:
    declared = torch.ones(3, dtype=torch.float64)
    starving = {"weight": [0.001, 0.5, 0.5]}
    [alarm] = rules.starved(TASKS, recent(**starving), declared, 0.01, "mgda")
    assert (alarm.kind, alarm.task, alarm.do) == ("weight", "a", "set balance.kind: log")
    assert "leaves it 0.3% of its declared say" in alarm.seen
    ahead = recent(**starving, loss=[0.2, 0.9, 0.9])
    assert list(rules.starved(TASKS, ahead, declared, 0.01, "tchebycheff")) == []
    wanted = torch.tensor([0.002, 1.0, 1.0], dtype=torch.float64)
    assert list(rules.starved(TASKS, recent(**starving), wanted, 0.01, "equal")) == []


def test_skill_is_judged_after_three_in_ten_epochs_and_again_at_the_end() -> None:
    skill = torch.tensor([[-0.01, 0.2, math.nan]], dtype=torch.float64)
    found = [len(list(rules.not_learning(TASKS, skill, 0.0, epoch, 10))) for epoch in range(1, 11)]
    assert found == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    [alarm] = rules.without_skill(TASKS, skill, 0.0)
    assert (alarm.kind, alarm.task) == ("no_skill", "a")


def test_skill_is_measured_against_the_constant_prediction_on_the_same_rows(tmp_path: Path) -> None:
    """A calm month is no skill: where few labels are true, a constant prediction loses less too."""
    arm, _, selection = planted_arm(tmp_path, epochs=1)
    states, places = list(arm.states.values()), list(arm.states)
    selection.targets[:, places.index("churn")] = 0.0
    expected = math.log1p(math.exp(arm.states["churn"]["bias"][0])) / arm.states["churn"]["constant_loss"]
    assert constant_losses(states, selection.targets)[places.index("churn")] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_rises_twice_in_a_row_is_found_where_it_matters() -> None:
    curves = torch.tensor([[0.5, 0.5, 0.5], [0.52, 0.501, 0.6], [0.56, 0.502, 0.55]], dtype=torch.float64)
    [alarm] = rules.rising(TASKS, curves, 1, 0.05, keeps_best=False)
    assert (alarm.task, alarm.seed) == ("a", 1)
    assert "rose to 0.560 from 0.500 after epoch 1" in alarm.seen
    assert "training.keep: best" in alarm.do
    assert list(rules.rising(TASKS, curves[:2], 1, 0.05, keeps_best=False)) == []
    [kept] = rules.rising(TASKS, curves, 1, 0.05, keeps_best=True)
    assert kept.do == "raise trunk.dropout"


@pytest.mark.parametrize(("mean", "looks", "found"), [(-0.3, 40, 1), (0.0, 40, 0), (-0.3, 8, 0), (-0.05, 400, 0)])
def test_only_a_cosine_below_zero_beyond_chance_and_over_many_looks_is_a_conflict(
    mean: float, looks: int, found: int
) -> None:
    series, chance = Series(1, 2, 2), torch.Generator().manual_seed(0)
    for _ in range(looks):
        cosine = mean + 0.2 * float(torch.randn(1, generator=chance))
        series.add(torch.tensor([[[1.0, cosine], [cosine, 1.0]]]))
    assert len(list(rules.conflicts(["a", "b"], series, -0.1))) == found


def test_an_alarm_is_said_once_and_counts_the_seeds_that_have_it() -> None:
    said: list[str] = []
    alarms = Alarms(said.append)
    for step, seed in [(20, 1), (40, 1), (60, 0)]:
        alarms.take(
            step, list(rules.unlabelled(["rare"], torch.tensor([[0], [0]]).index_fill(0, torch.tensor(seed), 200), 100))
        )
    assert said == [
        "alarm: task 'rare': no row of the last 200 batches had a label of it (step 20, seed 1); "
        "raise training.batch, or give it more labelled rows"
    ]
    assert [(alarm["step"], alarm["seeds"]) for alarm in alarms.raised] == [(20, [0, 1])]


def test_a_task_of_noise_and_one_without_labels_raise_their_alarms_while_the_model_trains(tmp_path: Path) -> None:
    arm, train, selection = planted_arm(tmp_path, epochs=4)
    place = list(arm.states).index("spend")
    train.targets[:, place] = torch.nan
    noise = torch.randn(len(selection.features), generator=torch.Generator().manual_seed(0))
    selection.targets[:, place] = noise
    monitor = Monitor.model_validate({"every": 2, "lookahead": 0, "alarms": {"unlabelled": 6, "skill": 0.0001}})
    said: list[str] = []
    meter, watch = watch_of(arm, monitor, selection, 1, said)
    fit(arm, train, selection, [5], Checkpoints(tmp_path / "x", "x"), quiet, meter, watch)
    kinds = [alarm["kind"] for alarm in watch.alarms.raised if alarm["task"] == "spend"]
    assert kinds == ["unlabelled", "not_learning", "no_skill"]
    assert {alarm["task"] for alarm in watch.alarms.raised} == {"spend"}
    assert len(said) == len(watch.alarms.raised)


# --- numbers that are not finite --------------------------------------------------------------------------


class BreaksLoss(LossMethod):
    """Gives the second task a weight that is NaN from step 4 on."""

    kind: ClassVar[str] = "breaks"

    def loss(self, losses: Tensor, known: Tensor, numbers: Any, moment: Moment) -> Tensor:
        weights = torch.ones_like(losses)
        weights[..., 1] = math.nan if moment.step >= 4 else 1.0
        return (losses * weights).sum(dim=-1)


class BreaksGradients(GradientMethod):
    """The same of a gradient method."""

    kind: ClassVar[str] = "breaks"
    every: int = 1

    def solve(self, seen: Seen) -> Array:
        found = np.full(len(seen.losses), 1 / 3)
        BreaksGradients.calls += 1
        found[1] = math.nan if BreaksGradients.calls > 4 else 1 / 3
        return found

    calls: ClassVar[int] = 0


def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any, whole: bool) -> str:
    arm, train, selection = planted_arm(tmp_path, epochs=3)
    BreaksGradients.calls = 0
    monkeypatch.setattr("trunkline.training.fit.runs_whole", lambda device: whole)
    with pytest.raises(DataError) as fault:
        fit(replace(arm, balance=method), train, selection, [5], Checkpoints(tmp_path / "x", "x"), quiet)
    return str(fault.value)


@pytest.mark.parametrize("method", [BreaksLoss(), BreaksGradients()])
def test_a_method_that_breaks_names_task_seed_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    for whole in (False, True):
        (tmp_path / str(whole)).mkdir()
        said = broken(tmp_path / str(whole), monkeypatch, method, whole)
        assert said.startswith(
            "task 'plan': the weight that balance.kind: breaks gives it is NaN or infinite at step 4"
        )
        assert "(epoch 2) of seed 0.\n" in said


@pytest.mark.parametrize("balance", [{"kind": "equal"}, {"kind": "upgrad"}])
def test_a_loss_that_explodes_keeps_the_last_whole_epoch(tmp_path: Path, balance: dict[str, Any]) -> None:
    recipe = {"epochs": 40, "learning_rate": 1.0, "clip": 1e30, "weight_decay": 30.0, "warmup": 0.9}
    arm, train, selection = planted_arm(tmp_path, balance=balance, **recipe)
    folder = Checkpoints(tmp_path / "x", "x")
    with pytest.raises(
        DataError, match=r"(task '\w+': its loss|the gradient of all tasks).* at step \d+ \(epoch \d+\) of seed 0"
    ):
        fit(arm, train, selection, [5], folder, quiet)
    saved = folder.load()
    assert saved is not None and saved["epoch"] >= 1
    assert all(torch.isfinite(part).all() for part in saved["whole"].values())


def test_on_a_gpu_the_first_bad_step_is_found_later_and_named_exactly() -> None:
    last = LastSteps(5, 3, 2, torch.device("cpu"))
    for step in range(13):
        noted = last.note(step)
        noted.losses.fill_(1.0)
        if step == 11:
            noted.losses[2, 1] = math.nan
        if step >= 11:
            noted.norms[2] = math.inf
        if step == 9:
            noted.norms[0] = math.nan  # a seed that has stopped
    fault = last.fault(12, [False, True, True])
    assert fault is not None
    assert fault == (11, 2, LOSS, 1)
    held = last.note(11)
    held.norms[1] = math.nan
    assert (later := last.fault(12, [False, True, True])) is not None
    assert later == (11, 1, GRADIENT, None)
    assert last.fault(12, [False] * 3) is None


def test_an_extreme_label_and_an_input_that_is_not_finite_are_named(tmp_path: Path) -> None:
    arm, train, selection = planted_arm(tmp_path, epochs=2)
    place = list(arm.states).index("spend")
    train.targets[7, place] = 1e30
    with pytest.raises(DataError, match=r"task 'spend': its loss .*\n  Training row 7 has a label 1e\+30 spreads"):
        fit_past_start(arm, train, selection, tmp_path / "a")
    features = np.array(train.features)
    features[9, 2] = np.inf
    with pytest.raises(DataError, match="Training row 9 holds no finite number in column 2"):
        fit_past_start(arm, train._replace(features=features), selection, tmp_path / "b")


def fit_past_start(arm: Arm, train: Rows, selection: Rows, folder: Path) -> list[Fitted]:
    """Train without the check of the first losses, as if the label had come later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkline.training.fit._Trainer._check_start", lambda trainer: None)
        return fit(arm, train, selection, [5], Checkpoints(folder, "x"), quiet)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_an_infinite_input_does_not_come_through_encode(tmp_path: Path, value: float) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trunkline.files import seal

    project = split_project(tmp_path, 400)
    path = tmp_path / "data" / "split" / "rows.parquet"
    rows = pq.read_table(path)
    for name in ("age", "income"):
        numbers = rows[name].to_pylist()
        numbers[0], numbers[-1] = value, value
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(numbers, pa.float64()))
    pq.write_table(rows, path)
    seal(path.parent, ["rows.parquet"])
    run(tmp_path, project, "encode")
    for side in ("train", "validation", "test"):
        assert np.isfinite(np.load(tmp_path / "data" / "encoded" / "features" / f"{side}.features.npy")).all()


# --- the last shared layer --------------------------------------------------------------------------------


def test_adapters_are_no_part_of_the_shared_layer_for_the_monitor_and_the_gradient_methods() -> None:
    state = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared"}
    states: list[dict[str, Any]] = [{**state, "spread": 1.0, "center": 0.0, "clip": None}] * 2
    chance = torch.Generator().manual_seed(0)
    made = Network(4, [], states, MLPTrunk(width=8, depth=1, dropout=0.0), chance, LoRA(kind="lora", rank=2))
    whole, losses = stack([made]), Losses(states, "constant")
    none = torch.zeros(1, 16, 0, dtype=torch.int64)
    batch = Batch(torch.randn(1, 16, 4, generator=chance), none, torch.randn(1, 16, 2, generator=chance), none, none)
    assert len(list(whole.last_shared.parameters())) == 4
    of_tasks = losses(whole(batch.features, batch.codes), batch.targets)
    measured = torch.cat(gradients(of_tasks, shared_layer(whole)), dim=2)
    torch.testing.assert_close(measured, last_layer_gradients(whole, losses, batch))
    assert measured.shape[2] == 8 * 4 + 8
