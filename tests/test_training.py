"""Training: it learns what was planted, feeds every row once, and a killed run ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from world import split_project

from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.errors import ArtifactError, DataError
from trunkline.files import read_json, sha256
from trunkline.training.affinity import AffinityMeter
from trunkline.training.arm import as_rows, penalised, shared_arm
from trunkline.training.arm_files import weight_bytes
from trunkline.training.batches import CHUNK, Rows, epoch_batches, steps_per_epoch
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Monitor
from trunkline.training.fit import Arm, fit

ROOT = Path(__file__).parents[1]


def run(root: Path, project: object, *names: str) -> None:
    for name in names:
        if name == "baseline":
            for task in project.tasks:  # type: ignore[attr-defined]
                stages.baseline(root, project, task)  # type: ignore[arg-type]
        else:
            stages.STAGES[name](root, project)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    run(root, split_project(root), "encode", "train", "baseline", "evaluate")
    return root


def test_a_planted_world_is_learned_by_the_shared_model_and_alone(trained: Path) -> None:
    tasks = read_json(trained / "reports" / "evaluation.json")["tasks"]
    for arm in ("shared", "alone"):
        assert tasks["churn"][arm]["roc_auc"] > 0.8
        assert tasks["plan"][arm]["accuracy"] > 0.7
        assert tasks["spend"][arm]["r2"] > 0.7


def test_evaluation_names_what_the_contract_names(trained: Path) -> None:
    evaluation = read_json(trained / "reports" / "evaluation.json")
    churn = evaluation["tasks"]["churn"]
    assert churn["primary"] == "roc_auc"
    assert churn["higher_is_better"] is True
    assert churn["transfer"]["verdict"] == "inconclusive"
    assert churn["transfer"]["gain"] == pytest.approx(churn["shared"]["roc_auc"] - churn["alone"]["roc_auc"])
    assert churn["labelled"]["train"] + churn["labelled"]["validation"] + churn["labelled"]["test"] < 2000
    assert evaluation["composite"]["inconclusive"] == 3
    gains = [task["transfer"]["gain_percent"] for task in evaluation["tasks"].values()]
    assert evaluation["composite"]["delta_m_percent"] == pytest.approx(np.mean(gains))


def test_history_has_a_row_per_epoch_and_its_losses_fall(trained: Path) -> None:
    lines = (trained / "models" / "shared" / "history.tsv").read_text().splitlines()
    header = lines[0].split("\t")
    assert header[:3] == ["seed", "epoch", "composite"]
    composite = [float(line.split("\t")[2]) for line in lines[1:]]
    assert len(composite) == 4
    assert composite[-1] > composite[0] > 0


def test_an_altered_array_stops_the_next_stage(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400)
    run(tmp_path, project, "encode")
    path = tmp_path / "data" / "encoded" / "labels" / "churn.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"churn.npy: is missing or was altered"):
        run(tmp_path, project, "train")


def test_weights_that_were_altered_are_not_evaluated(trained: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained, tmp_path / "copy")
    root = tmp_path / "copy"
    path = root / "models" / "shared" / "0.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    from trunkline.project import load_project

    with pytest.raises(ArtifactError, match="was altered"):
        stages.evaluate(root, load_project(root))


def test_the_folder_of_a_task_that_is_gone_is_removed(trained: Path) -> None:
    from trunkline.project import load_project

    stranger = trained / "models" / "alone" / "gone"
    stranger.mkdir()
    stages.evaluate(trained, load_project(trained))
    assert not stranger.exists()


def test_labels_in_a_wrong_unit_are_refused_before_the_first_step(tmp_path: Path) -> None:
    """A few absurd labels make the constant prediction good and every start bad."""
    project = split_project(tmp_path, 400)
    run(tmp_path, project, "encode")
    state = read_json(tmp_path / "data" / "encoded" / "labels" / "spend.json")
    state["state"]["constant_loss"] /= 3
    from trunkline.files import write_json

    write_json(tmp_path / "data" / "encoded" / "labels" / "spend.json", state)
    with pytest.raises(DataError, match=r"task 'spend': its loss before the first step is 3"):
        run(tmp_path, project, "train")


def test_a_loss_that_explodes_names_step_and_task_and_writes_no_model(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400, training={"learning_rate": 1.0, "clip": 1e30, "weight_decay": 1e6})
    run(tmp_path, project, "encode")
    with pytest.raises(DataError, match="is NaN or infinite at step"):
        run(tmp_path, project, "train")
    assert not (tmp_path / "models" / "shared").exists()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(trained: Path, tmp_path: Path) -> None:
    for name, seed in [("same", 1), ("other", 2)]:
        root = tmp_path / name
        root.mkdir()
        run(root, split_project(root, seed=seed), "encode", "train")
    of = [root / "models" / "shared" / "0.safetensors" for root in (trained, tmp_path / "same", tmp_path / "other")]
    assert sha256(of[0]) == sha256(of[1]) != sha256(of[2])


def test_several_seeds_differ_and_the_best_by_validation_is_named(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400, training={"seeds": 3, "epochs": 2})
    run(tmp_path, project, "encode", "train")
    run_record = read_json(tmp_path / "models" / "shared" / "run.json")
    composites = [seed["composite"] for seed in run_record["seeds"]]
    assert len(set(composites)) == 3
    assert run_record["best_seed"] == int(np.argmax(composites))


@pytest.mark.parametrize("changes", [{}, {"early_stop": {"patience": 1}, "epochs": 12, "learning_rate": 0.05}])
def test_seeds_trained_together_end_as_each_by_itself(tmp_path: Path, changes: dict[str, Any]) -> None:
    """On a CPU to the last bit, also where one stops before the others."""
    arm, train, selection = planted_arm(tmp_path, **{"epochs": 3, **changes})
    together = fit(arm, train, selection, [5, 6, 7], Checkpoints(tmp_path / "all", "x"), quiet)
    if changes:
        assert len({len(fitted.history) for fitted in together}) > 1
    for seed, fitted in zip([5, 6, 7], together, strict=True):
        single = fit(arm, train, selection, [seed], Checkpoints(tmp_path / str(seed), "x"), quiet)[0]
        assert weight_bytes(single.network) == weight_bytes(fitted.network)
        assert (single.history, single.kept_epoch) == (fitted.history, fitted.kept_epoch)


def test_batched_products_end_where_single_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a GPU, here on the CPU: within 1e-4 after 9 steps, by another order of rounding."""
    arm, train, selection = planted_arm(tmp_path, epochs=1, unseen_rate=0.2)
    of_members = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "a", "x"), quiet)
    monkeypatch.setattr("trunkline.training.fit.runs_whole", lambda device: True)
    of_whole = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "b", "x"), quiet)
    for one, other in zip(of_members, of_whole, strict=True):
        for name, value in one.network.state_dict().items():
            torch.testing.assert_close(other.network.state_dict()[name], value, atol=1e-4, rtol=0)
    assert not torch.equal(of_whole[0].network.heads.weight, of_whole[1].network.heads.weight)


GROUPED = {"kind": "demographic_parity", "task": "churn", "column": "city", "gap": 0.02, "rate": 0.5}


def test_a_training_goes_on_with_all_that_it_remembers(tmp_path: Path) -> None:
    """Weights, moments, what the balance and the fairness penalty learned, and the measurements of the gradients."""
    changes = {"epochs": 4, "fairness": [GROUPED], "keep": "best"}
    arm, train, selection = planted_arm(
        tmp_path, data={"key": ["id"], "sensitive": ["city"]}, balance={"kind": "uncertainty"}, **changes
    )
    monitor = Monitor(every=2, lookahead=3)

    def meter() -> AffinityMeter:
        return AffinityMeter(list(arm.states), 2, monitor)

    whole = meter()
    undisturbed = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "whole", "x"), quiet, whole)

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt  # after the second epoch, before its checkpoint

    with pytest.raises(KeyboardInterrupt):
        fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "cut", "x"), stop, meter())
    again = meter()
    said: list[str] = []
    resumed = fit(arm, train, selection, [5, 6], Checkpoints(tmp_path / "cut", "x"), said.append, again)
    assert said[0] == "resumes after epoch 1/4"
    for one, other in zip(undisturbed, resumed, strict=True):
        assert weight_bytes(one.network) == weight_bytes(other.network)
        assert one.history == other.history
    assert again.result() == whole.result()


def test_a_fairness_penalty_moves_the_task_it_is_about_in_both_arms_and_no_other(tmp_path: Path) -> None:
    trained: dict[bool, dict[str, bytes]] = {}
    for fair in (False, True):
        root = tmp_path / str(fair)
        root.mkdir()
        changes = {"fairness": [GROUPED] if fair else [], "epochs": 2}
        project = split_project(root, data={"key": ["id"], "sensitive": ["city"]}, training=changes)
        run(root, project, "encode", "train", "baseline")
        arms = ["shared", "alone/churn", "alone/spend"]
        trained[fair] = {arm: (root / "models" / arm / "0.safetensors").read_bytes() for arm in arms}
    moved = {arm for arm in trained[True] if trained[True][arm] != trained[False][arm]}
    assert moved == {"shared", "alone/churn"}


def test_a_task_without_a_validation_label_says_nothing_and_does_not_pass_for_perfect(tmp_path: Path) -> None:
    arm, train, selection = planted_arm(tmp_path, epochs=1)
    place = list(arm.states).index("spend")
    selection.targets[:, place] = torch.nan
    (row,) = fit(arm, train, selection, [5], Checkpoints(tmp_path / "all", "x"), quiet)[0].history
    assert np.isnan(row["validation.spend"])
    assert row["composite"] == pytest.approx(1 - (row["validation.churn"] + row["validation.plan"]) / 2, abs=1e-6)


def test_training_never_opens_the_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = split_project(tmp_path, 400, training={"epochs": 1}, alone={"tune": [0.01, 0.001]})
    run(tmp_path, project, "encode")
    opened: list[str] = []
    side = Encoded.side

    def noted(encoded: Encoded, name: str) -> Any:
        opened.append(name)
        return side(encoded, name)

    monkeypatch.setattr(Encoded, "side", noted)
    run(tmp_path, project, "train", "baseline")
    assert set(opened) == {"train", "validation"}


def test_a_learning_rate_is_tried_by_every_arm_and_chosen_on_validation_rows(tmp_path: Path) -> None:
    project = split_project(tmp_path, training={"seeds": 2, "epochs": 2}, alone={"tune": [1e-6, 0.01, 1e-5]})
    run(tmp_path, project, "encode", "train", "baseline")
    for arm in ("shared", "alone/churn"):
        found = read_json(tmp_path / "models" / arm / "run.json")
        assert [trial["learning_rate"] for trial in found["trials"]] == [1e-6, 0.01, 1e-5]
        assert found["learning_rate"] == 0.01
        assert found["seeds"][0]["composite"] == max(trial["composite"] for trial in found["trials"])


def test_alone_models_may_be_made_as_small_together_as_the_shared_one(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400, alone={"match": "parameters"}, training={"epochs": 1})
    run(tmp_path, project, "encode", "train", "baseline")

    def learned(arm: str) -> int:
        from safetensors.torch import load

        weights = load((tmp_path / "models" / arm / "0.safetensors").read_bytes())
        return sum(value.numel() for value in weights.values())

    alone = sum(learned(f"alone/{task}") for task in project.tasks)
    assert 0.8 * learned("shared") < alone <= 1.02 * learned("shared")


def test_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    changes = {"early_stop": {"patience": 2}, "epochs": 60, "learning_rate": 0.05}
    project = split_project(tmp_path, 400, training=changes)
    run(tmp_path, project, "encode", "train")
    seed = read_json(tmp_path / "models" / "shared" / "run.json")["seeds"][0]
    lines = (tmp_path / "models" / "shared" / "history.tsv").read_text().splitlines()[1:]
    composites = [float(line.split("\t")[2]) for line in lines]
    assert seed["epochs"] == seed["kept_epoch"] + 2 < 60
    assert seed["kept_epoch"] == int(np.argmax(composites)) + 1
    recipe = stages._recipe(project, read_json(tmp_path / "models" / "shared" / "run.json"))
    assert (recipe.keep, recipe.patience) == ("best", 2)


def test_a_task_alone_is_trained_as_if_the_others_were_not_there(tmp_path: Path) -> None:
    project = split_project(tmp_path, 400)
    run(tmp_path, project, "encode")
    stages.baseline(tmp_path, project, "churn")
    path = tmp_path / "models" / "alone" / "churn" / "0.safetensors"
    before = sha256(path)
    (tmp_path / "data" / "encoded" / "labels" / "spend.npy").unlink()
    stages.baseline(tmp_path, project, "churn")
    assert sha256(path) == before


def planted_arm(
    root: Path,
    data: dict[str, Any] | None = None,
    balance: dict[str, Any] | None = None,
    trunk: dict[str, Any] | None = None,
    **recipe: Any,
) -> tuple[Arm, Rows, Rows]:
    changes = {"data": data or {}, "balance": balance or {"kind": "equal"}, "trunk": trunk or {}}
    project = split_project(root, 600, training=recipe, **changes)
    run(root, project, "encode")
    encoded = Encoded(root / "data" / "encoded", list(project.tasks), penalised(project.training, project.tasks))
    arm = shared_arm(project.tasks, encoded, project.trunk, project.balance, project.training)
    return arm, *(as_rows(encoded.side(side), arm) for side in ("train", "validation"))


def quiet(line: str) -> None:
    pass


def numbered(count: int) -> Rows:
    return Rows(
        np.arange(count, dtype=np.float32)[:, None],
        np.zeros((count, 1), dtype=np.int32),
        torch.arange(count, dtype=torch.float32)[:, None],
        torch.zeros(count, 0, dtype=torch.int64),
        torch.zeros(count, 0),
    )


@given(count=st.integers(1, 3 * CHUNK), batch=st.integers(2, 500), shuffle_rows=st.sampled_from([CHUNK, 10**6]))
def test_an_epoch_shows_every_row_at_most_once_and_drops_less_than_a_batch_per_block(
    count: int, batch: int, shuffle_rows: int
) -> None:
    batches = list(epoch_batches(numbered(count), batch, shuffle_rows, [1, 2], 0, torch.device("cpu")))
    blocks = 1 if count <= shuffle_rows else -(-count // CHUNK)
    for member in range(2):
        shown = torch.cat([part.of(member).features[:, 0] for part in batches]).int().tolist()
        assert len(set(shown)) == len(shown)
        assert count - len(shown) < batch * blocks
    assert len(batches) == steps_per_epoch(count, batch, shuffle_rows)
    assert all((part.features == part.targets).all() for part in batches)


def test_the_order_differs_by_epoch_and_seed_and_not_otherwise() -> None:
    def order(seed: int, epoch: int, others: tuple[int, ...] = (), held: int = 10**6) -> list[float]:
        parts = epoch_batches(numbered(1000), 100, held, [seed, *others], epoch, torch.device("cpu"))
        return torch.cat([part.of(0).features[:, 0] for part in parts]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) == order(1, 0, others=(2, 3), held=1000)  # gathered in pieces, as memory asks


def test_a_training_with_other_inputs_does_not_resume_and_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "old").save({"epoch": 3})
    assert Checkpoints(tmp_path, "new").load() is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "this")
    checkpoints.save({"epoch": 3})
    assert checkpoints.load() == {"epoch": 3}
    path = next((tmp_path / "this").iterdir())
    for content in (b"", path.read_bytes()[:-1], path.read_bytes()[:40] + b"x" + path.read_bytes()[41:]):
        path.write_bytes(content)
        assert checkpoints.load() is None


KILLS = 20

FORK_SERVER = """
import os, signal, sys
from pathlib import Path
from trunkline import stages
from trunkline.project import load_project
import trunkline.training.arm, trunkline.data.encode, scipy.optimize
import torch
torch.set_num_threads(1)
for line in sys.stdin:
    root, wait = line.split()
    child = os.fork()
    if child == 0:
        sys.stdout = open(Path(root) / "said.txt", "a")
        signal.setitimer(signal.ITIMER_PROF, float(wait))
        stages.train(Path(root), load_project(Path(root)))
        sys.stdout.flush()
        os._exit(0)
    _, ended, used = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(ended), round(used.ru_utime + used.ru_stime, 4), flush=True)
"""


class Forks:
    """Trains in children of one warm process, so that an instant lies in the training and not in imports."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        self.server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", FORK_SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def train(self, root: Path, wait: float) -> tuple[int, float]:
        """Train in `root`, killed after `wait` seconds of its own; return exit code (-SIGPROF: killed) and seconds.

        Its own are those of the processor: what else the machine does brings no kill nearer to the beginning.
        """
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(f"{root} {wait}\n")
        self.server.stdin.flush()
        code, seconds = self.server.stdout.readline().split()
        return int(code), float(seconds)

    def close(self) -> None:
        self.server.communicate()


@pytest.fixture
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


def test_a_training_killed_at_random_instants_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, forks: Forks
) -> None:
    changes = {"epochs": 14, "keep": "best"}

    def project(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        run(root, split_project(root, training=changes), "encode")
        return root

    def model(root: Path) -> dict[str, str]:
        return {path.name: sha256(path) for path in sorted((root / "models" / "shared").iterdir())}

    quiet = project("quiet")
    code, duration = forks.train(quiet, 600)
    assert code == 0
    chance = random.Random(0)
    kills = runs = resumed = 0
    while kills < KILLS:
        root, runs = project(f"killed-{runs}"), runs + 1
        while (code := forks.train(root, chance.random() * duration)[0]) != 0:
            assert code == -signal.SIGPROF
            kills += 1
        assert model(root) == model(quiet)
        assert [path for path in (root / ".trunkline").rglob("*") if path.is_file()] == []
        resumed += "resumes after epoch" in (root / "said.txt").read_text()
    assert resumed > 0, "no run ever resumed, so nothing was tested"
