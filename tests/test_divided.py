"""A step in parts, or by several processes: the same as the undivided one, under every method; bfloat16 on a CPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor
from world import params, split_project

from trunkline import stages
from trunkline.balance import Balance, EqualWeights, GradientMethod
from trunkline.errors import ParamsError
from trunkline.files import read_json
from trunkline.nets.declarations import MLPTrunk
from trunkline.nets.stack import draw_from
from trunkline.project import load_project, parse_project
from trunkline.training.affinity import AffinityMeter
from trunkline.training.arm_files import weight_bytes
from trunkline.training.batches import Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Monitor, Training
from trunkline.training.fairness import FairnessPenalty
from trunkline.training.fit import Arm, _Trainer, fit
from trunkline.training.precision import autocast, slow_bfloat16
from trunkline.training.processes import ALONE

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = {get_args(method.model_fields["kind"].annotation)[0]: method for method in get_args(get_args(Balance)[0])}
NEEDED: dict[str, dict[str, Any]] = {"torchjd": {"name": "FairGrad", "settings": {"alpha": 1.0}}}
SMALL = MLPTrunk(width=16, depth=2, dropout=0.0)
CPU = torch.device("cpu")


def balances() -> Iterator[Any]:
    """Every method, gradient methods by all their ways to look at a batch."""
    read = TypeAdapter(Balance).validate_python
    for kind, method in METHODS.items():
        ways: list[dict[str, Any]] = [{}]
        if issubclass(method, GradientMethod):
            ways = [{"every": 1, "rows": 16}, {"every": 1, "rows": None}, {"every": 2, "level": "all"}]
        for way in ways:
            yield pytest.param(
                read({"kind": kind, **NEEDED.get(kind, {}), **way}), id=" ".join([kind, *map(str, way.values())])
            )


def world(rows: int = 48) -> Rows:
    """Two numbers, a yes or no and three classes; half of the labels are missing, all of some rows, and groups."""
    chance = np.random.default_rng(3)
    features = chance.normal(size=(rows, 6)).astype(np.float32)
    codes = chance.integers(0, 4, size=(rows, 1)).astype(np.int32)
    signal = features @ chance.normal(size=(6, 4)) / 2
    targets = np.stack([signal[:, 0], signal[:, 1], signal[:, 2] > 0, signal[:, 3] > 0.5], axis=1).astype(np.float32)
    targets[:, :2] = (targets[:, :2] - targets[:, :2].mean(axis=0)) / targets[:, :2].std(axis=0)
    targets[chance.random(targets.shape) < 0.5] = np.nan
    targets[:5] = np.nan
    groups = torch.from_numpy(chance.integers(0, 2, size=(rows, 1)).astype(np.int32))
    return Rows(features, codes, torch.from_numpy(targets), groups, torch.zeros(rows, 0))


def arm(balance: Any, trunk: MLPTrunk = SMALL, penalties: Any = (), **recipe: Any) -> Arm:
    number = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "loss": "squared",
              "spread": 1.0, "center": 0.0, "clip": None}  # fmt: skip
    yes_no = {"kind": "binary", "outputs": 1, "bias": [0.0], "constant_loss": 0.69, "prevalence": 0.5, "threshold": 0.5}
    states: Any = {"a": number, "b": {**number, "loss": "huber", "constant_loss": 0.4}, "c": yes_no, "d": yes_no}
    training = Training(**{"seeds": 2, "epochs": 1, "batch": 48, "learning_rate": 0.01, "device": "cpu", **recipe})
    weights = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
    return Arm("shared", states, weights, 6, [4], trunk, balance, training, list(penalties))


def trainer(which: Arm, rows: Rows, folder: Path) -> _Trainer:
    return _Trainer(which, rows, rows, (5, 6), Checkpoints(folder, "x"), lambda line: None, None)


def stepped(which: Arm, folder: Path, steps: int = 3) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients and memory after some steps, and the last one's losses."""
    rows = world()
    taught = trainer(which, rows, folder)
    torch.manual_seed(0)
    for penalty in taught.penalties.parts:
        penalty.seen += 100  # rows enough for groups to be compared, and a price that is not 0
        penalty.selected += torch.tensor([[20.0, 80.0]])
        penalty.multiplier += 1.0
    for step in range(steps):
        places = torch.arange(48).roll(step)
        taught.whole.train()
        losses = taught._step(rows.take(torch.stack([places, places.flip(0)]), CPU), [True, True], step)
    found = {name: weight.grad for name, weight in taught.whole.named_parameters()}
    return {**found, **taught.whole.state_dict(), **taught.penalties.state_dict()}, losses


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=2e-5, rtol=2e-3, equal_nan=True, msg=name)


@pytest.mark.parametrize("balance", list(balances()))
def test_a_step_in_parts_is_the_undivided_step(balance: Any, tmp_path: Path) -> None:
    """Half of the labels are missing, so that means of parts' means would be others; parts are of unequal size."""
    whole, losses = stepped(arm(balance), tmp_path)
    parts, of_parts = stepped(arm(balance, accumulate=5), tmp_path)
    same(whole, parts)
    torch.testing.assert_close(of_parts, losses, atol=1e-5, rtol=1e-4)


def test_the_test_of_parts_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a part forgotten, it would be seen."""
    whole, _ = stepped(arm(EqualWeights()), tmp_path)
    monkeypatch.setattr("trunkline.training.divided.Outputs._again",
                        lambda self: ((part, self._forward(part)) for part in self.parts[1:]))  # fmt: skip
    parts, _ = stepped(arm(EqualWeights(), accumulate=5), tmp_path)
    with pytest.raises(AssertionError):
        same(whole, parts)


@pytest.mark.parametrize("kind", ["equal", "upgrad"])
def test_the_price_of_a_gap_between_groups_is_that_of_the_whole_batch(kind: str, tmp_path: Path) -> None:
    penalties = [(FairnessPenalty(kind="demographic_parity", task="c", column="g"), 2)]
    balance = TypeAdapter(Balance).validate_python({"kind": kind})
    without, _ = stepped(arm(balance), tmp_path)
    whole, _ = stepped(arm(balance, penalties=penalties), tmp_path)
    same(whole, stepped(arm(balance, penalties=penalties, accumulate=3), tmp_path)[0])
    assert not torch.allclose(whole["network.heads.bias"], without["network.heads.bias"])


def test_both_halves_of_a_step_in_parts_draw_the_same_dropout(tmp_path: Path) -> None:
    """Outputs that are computed again are those that the losses were made of; a resume ends with the same bytes."""
    dropping = arm(EqualWeights(), MLPTrunk(width=16, depth=2, dropout=0.3), accumulate=4, epochs=3, batch=16)
    rows = world(480)
    taught = trainer(dropping, rows, tmp_path / "a")
    streams = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    taught.members[0].train()
    draw_from(taught.members[0], streams[:1])
    outputs = taught.divided.outputs(taught.members[0].network, rows.take(torch.arange(48)[None], CPU).of(0))
    for _ in range(2):
        again = torch.cat([found for _, found in outputs._again()])
        assert torch.equal(again, outputs.all)
    assert len(outputs.parts) == 4
    whole = fit(dropping, rows, rows, (5, 6), Checkpoints(tmp_path / "b", "x"), lambda line: None)
    folder = Checkpoints(tmp_path / "c", "x")
    cut = _Trainer(dropping, rows, rows, (5, 6), folder, lambda line: None, None)
    cut._end_epoch(cut._train_epoch())
    folder.save(cut._state())
    resumed = fit(dropping, rows, rows, (5, 6), folder, lambda line: None)
    assert [weight_bytes(each.network) for each in resumed] == [weight_bytes(each.network) for each in whole]


def test_a_whole_stack_in_parts_steps_as_its_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    balance = TypeAdapter(Balance).validate_python({"kind": "nash", "every": 1, "rows": 16})
    members, _ = stepped(arm(balance, accumulate=3), tmp_path)
    monkeypatch.setattr("trunkline.training.fit.runs_whole", lambda device: True)
    whole, _ = stepped(arm(balance, accumulate=3), tmp_path)
    same(members, whole)


def test_a_measurement_takes_no_more_rows_than_a_part(tmp_path: Path) -> None:
    rows = world()
    taught = trainer(arm(EqualWeights(), accumulate=5), rows, tmp_path)
    places = torch.arange(48).repeat(2, 1)
    assert taught._first_part(rows.take(places, CPU)).targets.shape == (2, 10, 4)


def test_more_parts_than_rows_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"training: .*40 parts of a batch of 64 rows .* use at most 32"):
        parse_project(params(training={"batch": 64, "accumulate": 40}))


# --- several processes --------------------------------------------------------------------------------------------

STAGE = """
import sys
from pathlib import Path
from trunkline.pipeline.stage import run_stage
folder = Path(sys.argv[1])
assert run_stage(folder, "encode") == 2
sys.exit(run_stage(folder, "train"))
"""
TRAININGS = """
import sys, torch
from pathlib import Path
from trunkline.training.processes import joined
sys.path.insert(0, sys.argv[2])
import test_divided
with joined(torch.device("cpu")) as processes:
    torch.save(test_divided.of_processes(processes), Path(sys.argv[1]) / f"{processes.rank}.pt")
"""
OF_PROCESSES: list[dict[str, Any]] = [
    {"kind": "equal"}, {"kind": "log"}, {"kind": "uncertainty"}, {"kind": "famo"}, {"kind": "upgrad", "rows": 16},
    {"kind": "nash", "rows": None, "every": 1}, {"kind": "upgrad", "level": "all", "every": 2},
]  # fmt: skip


def of_processes(processes: Any) -> list[dict[str, Tensor]]:
    """What short trainings end with, in parts or not, by this process and those it works with."""
    found = []
    rows = world(96)
    for place, declared in enumerate(OF_PROCESSES):
        balance = TypeAdapter(Balance).validate_python(declared)
        penalties = [(FairnessPenalty(kind="demographic_parity", task="c", column="g"), 2)]
        which = arm(balance, penalties=penalties, batch=25, epochs=2, accumulate=1 + place % 2)
        nowhere = Checkpoints(Path("/nonexistent"), "x")
        taught = _Trainer(which, rows, rows, (5, 6), nowhere, lambda line: None, None, processes=processes)
        for _ in range(2):
            taught._end_epoch(taught._train_epoch())
        found.append({**taught.whole.state_dict(), **taught.penalties.state_dict()})
    return found


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes ran the stage `train`, and some trainings of every family of methods."""
    folder = tmp_path_factory.mktemp("together")
    project = split_project(folder, 800, trunk={"width": 16, "dropout": 0.0}, training={"epochs": 2, "seeds": 2})
    stages.encode(folder, project)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = []
    for program in (STAGE, TRAININGS):  # each connects once: gloo may hang where processes connect a second time
        path = folder / "together.py"
        path.write_text(program)
        words = [*torchrun, str(path), str(folder), str(Path(__file__).parent)]
        said.append(subprocess.run(words, capture_output=True, text=True, timeout=200))
        assert said[-1].returncode == 0, said[-1].stderr
    done = said[0]
    assert done.stdout.count("epoch 2/2") == 1  # one of them speaks
    assert "stage encode: is run by one process" in done.stderr
    return folder


def test_two_processes_end_as_one_does(by_two: Path) -> None:
    """25 rows per batch, 12 of one process and 13 of the other, half of their labels missing."""
    for one, other in zip(of_processes(ALONE), torch.load(by_two / "0.pt"), strict=True):
        same(one, other)


def test_all_processes_hold_the_same_bits(by_two: Path) -> None:
    for first, second in zip(*(torch.load(by_two / f"{rank}.pt") for rank in range(2)), strict=True):
        for name, value in first.items():
            assert torch.equal(value.nan_to_num(), second[name].nan_to_num()), name


def test_the_stage_train_of_two_processes_leaves_the_model_of_one(by_two: Path) -> None:
    folder = by_two / "models" / "shared"
    together, run = [load_file(folder / f"{place}.safetensors") for place in range(2)], read_json(folder / "run.json")
    assert run["processes"] == 2
    stages.train(by_two, load_project(by_two))
    for place, of_two in enumerate(together):
        same(load_file(folder / f"{place}.safetensors"), of_two)
    assert "processes" not in read_json(folder / "run.json")


# --- bfloat16 -----------------------------------------------------------------------------------------------------


def test_steps_in_bfloat16_leave_weights_and_gramian_as_they_are(tmp_path: Path) -> None:
    balance = TypeAdapter(Balance).validate_python({"kind": "upgrad", "every": 1, "rows": 16})
    for parts in (1, 3):
        exact, losses = stepped(arm(balance, accumulate=parts, precision="float32"), tmp_path, 1)
        rounded, near = stepped(arm(balance, accumulate=parts, precision="bfloat16"), tmp_path, 1)
        assert {value.dtype for value in rounded.values()} == {value.dtype for value in exact.values()}
        torch.testing.assert_close(near, losses, rtol=0.03, atol=0.01)
        assert not torch.equal(near, losses)


def test_precision_auto_is_float32_on_a_cpu_and_bfloat16_on_a_gpu(tmp_path: Path) -> None:
    plain, _ = stepped(arm(EqualWeights(), precision="float32"), tmp_path)
    auto, _ = stepped(arm(EqualWeights()), tmp_path)
    assert all(torch.equal(value, auto[name]) for name, value in plain.items())
    assert [autocast(word, CPU)._enabled for word in ("auto", "float32", "bfloat16")] == [False, False, True]


def test_bfloat16_is_warned_about_where_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert "imitates" in next(slow_bfloat16("bfloat16", CPU, 256))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert list(slow_bfloat16("bfloat16", CPU, 256)) == list(slow_bfloat16("auto", CPU, 16)) == []
    assert "32 units" in next(slow_bfloat16("bfloat16", CPU, 32))


def test_what_is_measured_on_the_way_is_measured_in_float32(tmp_path: Path) -> None:
    rows, found = world(), []
    for precision in ("float32", "bfloat16"):
        meter = AffinityMeter(["a", "b", "c", "d"], 2, Monitor(every=1, lookahead=1))
        taught = trainer(arm(EqualWeights(), precision=precision), rows, tmp_path)
        batch = rows.take(torch.arange(48).repeat(2, 1), CPU)
        meter.measure(0, taught.whole.network, taught.losses, batch, 0.01, [True, True])
        found.append(meter.result()["seeds"])
    assert str(found[0]) == str(found[1])
