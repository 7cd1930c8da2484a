"""What went wrong in other libraries' trainings does not go wrong here: few labels, forgotten state, clipping too late.

Twelve yes-or-no tasks of which nine labels in ten are missing train under every method and every form of sharing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from trunkline.balance import Balance, EqualWeights, GradientMethod
from trunkline.nets.declarations import HardSharing, MLPTrunk, Sharing
from trunkline.tasks._modules import Losses
from trunkline.training.arm_files import weight_bytes
from trunkline.training.batches import Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.fit import Arm, Fitted, _Trainer, fit
from trunkline.training.forward import mean_losses, network_outputs

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS, ROWS, BATCH = 12, 192, 16
BALANCES = {get_args(each.model_fields["kind"].annotation)[0]: each for each in get_args(get_args(Balance)[0])}
FORMS = [get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(Sharing)[0])]
NEEDED: dict[str, dict[str, Any]] = {"torchjd": {"name": "FairGrad", "settings": {"alpha": 1.0}}}
READ, READ_FORM = TypeAdapter(Balance).validate_python, TypeAdapter(Sharing).validate_python
DROPPING = MLPTrunk(width=16, depth=1, dropout=0.1)


def scarce() -> Rows:
    """Twelve related tasks; every second row has a single label, every task at most one row in ten, some none at all.

    All labels of the first batch's worth of rows are of one task, and those of the next are none.
    """
    chance = np.random.default_rng(1)
    inputs = chance.normal(size=(ROWS, 6))
    yes = inputs @ chance.normal(size=(6, 1)) + 0.5 * inputs @ chance.normal(size=(6, TASKS)) > 0
    targets = np.where(chance.random(yes.shape) < 0.1, yes, np.nan)
    single = np.arange(ROWS) % 2 == 0
    targets[single] = np.nan
    targets[single, chance.integers(0, TASKS, single.sum())] = 0.0
    targets[single] = np.where(np.isnan(targets[single]), np.nan, yes[single])
    targets[:BATCH, 1:], targets[BATCH : 2 * BATCH] = np.nan, np.nan
    codes = chance.integers(0, 3, size=(ROWS, 1)).astype(np.int32)
    nothing = torch.zeros(ROWS, 0)
    return Rows(inputs.astype(np.float32), codes, torch.from_numpy(targets).float(), nothing, nothing)


def binary_arm(balance: Any, form: Any, rows: Rows, **recipe: Any) -> Arm:
    rates = np.nanmean(rows.targets.numpy(), axis=0).clip(0.2, 0.8)
    states: Any = {
        f"t{place}": {"kind": "binary", "outputs": 1, "bias": [float(np.log(rate / (1 - rate)))],
                      "constant_loss": float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))}
        for place, rate in enumerate(rates)
    }  # fmt: skip
    training = Training(**{"seeds": 1, "epochs": 3, "batch": BATCH, "learning_rate": 0.02, "device": "cpu", **recipe})
    weights = dict.fromkeys(states, 1.0)
    return Arm("shared", states, weights, 6, [3], DROPPING, balance, training, sharing=form)


def trained(arm: Arm, rows: Rows, checkpoints: Checkpoints) -> list[Fitted]:
    return fit(arm, rows, rows, [3], checkpoints, lambda line: None)


@pytest.fixture(autouse=True)
def few_rows_may_start_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen labels per task say little of the constant prediction's loss."""
    monkeypatch.setattr("trunkline.training.start.START_RANGE", (0.3, 3.0))


@pytest.mark.parametrize(
    ("kind", "form"),
    [*((kind, "hard") for kind in BALANCES), *(("equal", form) for form in FORMS[1:]), ("upgrad", "ple")],
)
def test_twelve_tasks_with_a_label_in_ten_train_on_and_resume(kind: str, form: str, tmp_path: Path) -> None:
    """Every shared number moves in every epoch, losses fall, and a resume ends with the same bytes."""
    rows = scarce()
    ways = {"every": 2, "rows": 8} if issubclass(BALANCES[kind], GradientMethod) else {}
    arm = binary_arm(READ({"kind": kind, **NEEDED.get(kind, {}), **ways}), READ_FORM({"kind": form}), rows)
    whole = trained(arm, rows, Checkpoints(tmp_path / "whole", "x"))[0]
    assert all(np.isfinite(value) for row in whole.history for value in row.values())
    assert whole.history[-1]["composite"] > max(0.02, whole.history[0]["composite"])
    folder = Checkpoints(tmp_path / "cut", "x")
    cut = _Trainer(arm, rows, rows, [3], folder, lambda line: None, None)
    for _ in range(2):
        before = {name: weight.detach().clone() for name, weight in cut.whole.network.named_parameters()}
        cut._end_epoch(cut._train_epoch())
        still = [name for name, weight in cut.whole.network.named_parameters() if torch.equal(weight, before[name])]
        assert still == []
    folder.save(cut._state())
    assert weight_bytes(trained(arm, rows, folder)[0].network) == weight_bytes(whole.network)


def gradient(rows: Rows, losses: Losses, network: Any, task: int) -> list[Tensor]:
    batch = rows.take(torch.arange(len(rows.features)), torch.device("cpu"))
    found = losses(network(batch.features, batch.codes), batch.targets)[task]
    return list(torch.autograd.grad(found, list(network.parameters()), retain_graph=True, materialize_grads=True))


def test_a_row_with_a_single_label_counts_for_its_task_as_if_it_had_all(tmp_path: Path) -> None:
    """A task's gradient is that of its labelled rows alone, however many more labels the others have."""
    rows = scarce()
    arm = binary_arm(EqualWeights(), HardSharing(), rows)
    trainer = _Trainer(arm, rows, rows, [3], Checkpoints(tmp_path, "x"), lambda line: None, None)
    network = trainer.members[0].network.eval()
    for task in range(TASKS):
        own = rows.subset(np.flatnonzero(~np.isnan(rows.targets[:, task].numpy())))
        for one, other in zip(gradient(rows, trainer.losses, network, task),
                              gradient(own, trainer.losses, network, task), strict=True):  # fmt: skip
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_two_rows_and_one_of_one_are_no_special_case(form: str, tmp_path: Path) -> None:
    rows = scarce()
    arm = binary_arm(READ({"kind": "upgrad"}), READ_FORM({"kind": form}), rows, batch=2)
    trainer = _Trainer(arm, rows, rows, [3], Checkpoints(tmp_path, "x"), lambda line: None, None)
    for count in (2, 1):
        losses = trainer._step(rows.take(torch.arange(count)[None], torch.device("cpu")), [True], 0)
        assert losses.isfinite().all()
    whole = network_outputs(trainer.members[0].network.eval(), rows.features, rows.codes)
    single = network_outputs(trainer.members[0].network, rows.features[:1], rows.codes[:1])
    torch.testing.assert_close(single, whole[:1], atol=1e-5, rtol=1e-4)


def test_the_gradient_is_shortened_before_the_step_and_not_after(tmp_path: Path) -> None:
    rows = scarce()
    trainer = _Trainer(binary_arm(EqualWeights(), HardSharing(), rows, clip=1e-3), rows, rows, [3],
                       Checkpoints(tmp_path, "x"), lambda line: None, None)  # fmt: skip
    seen: list[float] = []

    def look(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parts = [weight.grad.flatten() for weight in trainer.whole.network.parameters() if weight.grad is not None]
        seen.append(float(torch.cat(parts).norm()))

    trainer.optimizer.register_step_pre_hook(look)
    trainer._step(rows.take(torch.arange(BATCH)[None], torch.device("cpu")), [True], 0)
    assert seen == [pytest.approx(1e-3, rel=1e-3)]


def test_a_score_does_not_depend_on_how_rows_are_cut_into_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = scarce()
    trainer = _Trainer(binary_arm(EqualWeights(), HardSharing(), rows), rows, rows, [3], Checkpoints(tmp_path, "x"),
                       lambda line: None, None)  # fmt: skip
    network, places = trainer.members[0].network.eval(), torch.arange(ROWS)
    whole = (
        network_outputs(network, rows.features, rows.codes),
        mean_losses([network], rows, places, trainer.skill_losses),
    )
    monkeypatch.setattr("trunkline.training.forward.SCORE_BATCH", 7)
    cut = (
        network_outputs(network, rows.features, rows.codes),
        mean_losses([network], rows, places, trainer.skill_losses),
    )
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_what_a_method_learns_about_the_tasks_is_no_weight_of_the_network(tmp_path: Path) -> None:
    """It does not decay, has a step size of its own, is not shortened with the network's gradient nor exported."""
    rows = scarce()
    for kind in ("uncertainty", "famo"):
        trainer = _Trainer(binary_arm(READ({"kind": kind}), HardSharing(), rows), rows, rows, [3],
                           Checkpoints(tmp_path, "x"), lambda line: None, None)  # fmt: skip
        (network, learned), balance = trainer.optimizer.param_groups, trainer.members[0].balance
        assert {id(each) for each in learned["params"]} == {id(each) for each in balance.parameters()}
        assert learned["weight_decay"] == 0 and learned["peak"] == 10 * network["peak"]
        assert not set(balance.state_dict()) & set(trainer.members[0].network.state_dict())
