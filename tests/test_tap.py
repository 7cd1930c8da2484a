"""Heads that read an earlier layer of the trunk: which layer, what all tasks share, and the exported file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from sklearn import metrics
from test_auxiliary import fading_arm
from test_balance import related, trained
from test_export import raw_test_rows
from world import params, split_project

from trunkline import stages
from trunkline.errors import ParamsError
from trunkline.files import read_json
from trunkline.nets.network import Network
from trunkline.nets.stack import member, stack
from trunkline.nets.trunks import read_trunk
from trunkline.project import parse_project
from trunkline.training.arm_files import weight_bytes
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.engine import gradients
from trunkline.training.fit import _Trainer, fit

KINDS = ["mlp", "residual"]


def network(kind: str, taps: list[int | None], seed: int = 0) -> Network:
    states: list[Any] = [{"outputs": 1, "bias": [0.0], **({"tap_layer": tap} if tap else {})} for tap in taps]
    trunk = read_trunk({"kind": kind, "width": 8, "depth": 3, "dropout": 0.0})
    return Network(5, [], states, trunk, torch.Generator().manual_seed(seed)).eval()


ROWS = torch.randn(11, 5, generator=torch.Generator().manual_seed(1))
NOTHING = torch.zeros(11, 0, dtype=torch.int64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_reads_its_layer_and_no_later_one(kind: str) -> None:
    tapped = network(kind, [1, 2, None])
    outputs = tapped(ROWS, NOTHING)
    layers = tapped.trunk.trunk.layers
    x = tapped.prepared(ROWS, NOTHING)
    for place, layer in enumerate(layers):
        x = layer(x)
        wanted = x @ tapped.heads.weight[place] + tapped.heads.bias[place]
        torch.testing.assert_close(outputs[:, place], wanted)
        reached = torch.autograd.grad(outputs[:, place].sum(), list(tapped.trunk.parameters()), retain_graph=True,
                                      allow_unused=True)  # fmt: skip
        slopes = dict(zip(tapped.trunk.parameters(), reached, strict=True))
        deeper = [slopes[weight] for later in layers[place + 1 :] for weight in later.parameters()]
        assert all(slope is None or not slope.any() for slope in deeper)
        assert all(slopes[weight].any() for weight in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_compared_at_the_lowest_tap_which_all_tasks_reach(kind: str) -> None:
    tapped = network(kind, [None, 2, 3])
    assert tapped.last_shared is tapped.trunk.trunk.linear_of(2)
    assert tapped.last_shared is not tapped.trunk.trunk.last
    found = gradients(tapped(ROWS, NOTHING).square().mean(dim=0), list(tapped.last_shared.parameters()))
    assert all((part.flatten(1).norm(dim=1) > 0).all() for part in found)
    deepest = gradients(tapped(ROWS, NOTHING).square().mean(dim=0), list(tapped.trunk.trunk.last.parameters()))
    assert (deepest[0][1] == 0).all()  # what would be compared there, where the second task never comes


@pytest.mark.parametrize("kind", KINDS)
def test_a_tap_at_the_last_layer_is_no_tap(kind: str) -> None:
    assert list(network(kind, [3, None]).state_dict()) == list(network(kind, [None, None]).state_dict())
    assert torch.equal(network(kind, [3, None])(ROWS, NOTHING), network(kind, [None, None])(ROWS, NOTHING))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_says_what_its_members_say(kind: str) -> None:
    whole = stack([network(kind, [1, None], seed) for seed in (0, 1)])
    together = whole(ROWS.expand(2, -1, -1), NOTHING.expand(2, -1, -1))
    for place in range(2):
        torch.testing.assert_close(together[place], member(whole, place)(ROWS, NOTHING))


@pytest.mark.parametrize("kind", ["equal", "pcgrad", "gradnorm"])
def test_every_method_learns_with_a_tap_and_resumes_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    rows, arm = related(count=192), fading_arm(kind, {}, epochs=2)
    arm = replace(arm, states={**arm.states, "t1": {**arm.states["t1"], "tap_layer": 1}})
    whole = trained(arm, rows, tmp_path / "whole")[0]
    assert whole.composite > 0
    folder = Checkpoints(tmp_path / "cut", "x")
    cut = _Trainer(arm, rows, rows, (5,), folder, lambda line: None, None)
    cut._end_epoch(cut._train_epoch())
    folder.save(cut._state())
    resumed = fit(arm, rows, rows, (5,), folder, lambda line: None)[0]
    assert weight_bytes(resumed.network) == weight_bytes(whole.network)


def test_the_file_scores_as_was_reported(tmp_path: Path) -> None:
    tasks = {name: task for name, task in params()["tasks"].items() if name != "plan"}
    tasks["churn"]["tap_layer"] = 1
    project = split_project(tmp_path, 1000, trunk={"kind": "residual"}, balance={"kind": "pcgrad"},
                            evaluation={"draws": 200}, monitor={"lookahead": 10, "every": 5})  # fmt: skip
    project = project.model_copy(update={"tasks": parse_project({**params(), "tasks": tasks}).tasks})
    for name in ("encode", "train"):
        stages.STAGES[name](tmp_path, project)
    for task in project.tasks:
        stages.baseline(tmp_path, project, task)
    stages.evaluate(tmp_path, project)
    stages.export(tmp_path, project)
    session = onnxruntime.InferenceSession((tmp_path / "models" / "export" / "model.onnx").read_bytes())
    feeds, test = raw_test_rows(tmp_path)
    probability = session.run(["churn.probability"], feeds)[0]
    known = test["churned"].notna().to_numpy()
    score = metrics.roc_auc_score(test["churned"][known].astype(int), probability[known, 0])
    reported = read_json(tmp_path / "reports" / "evaluation.json")["tasks"]["churn"]
    assert score == pytest.approx(reported["exported"]["roc_auc"], abs=1e-4)
    assert score > 0.7
    assert read_json(tmp_path / "models" / "shared" / "run.json")["tasks"]["churn"]["tap_layer"] == 1
    assert "tap_layer" not in read_json(tmp_path / "models" / "alone" / "churn" / "run.json")["tasks"]["churn"]


@pytest.mark.parametrize(
    ("tap", "changes", "words"),
    [
        (3, {}, "tasks.churn.tap_layer: found 3, but the trunk has 2 layers; see trunk.depth"),
        (1, {"sharing": {"kind": "mmoe"}}, "tasks.churn.tap_layer: says nothing under sharing.kind: mmoe"),
        (0, {}, "tasks.churn.tap_layer"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(tap: int, changes: dict[str, Any], words: str) -> None:
    content = params(**changes)
    content["tasks"]["churn"]["tap_layer"] = tap
    with pytest.raises(ParamsError) as caught:
        parse_project(content)
    assert words in str(caught.value)


def test_layers_that_no_head_reads_are_refused() -> None:
    content = params()
    for task in content["tasks"].values():
        task["tap_layer"] = 1
    with pytest.raises(ParamsError, match="no head reads the trunk above layer 1"):
        parse_project(content)
