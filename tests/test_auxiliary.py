"""Auxiliary tasks: they shape the shared layers, say less and less, and are gone from the file and from the verdict."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn import metrics
from test_balance import BY_GRADIENTS, BY_LOSSES, KINDS, SMALL, arm_of, made, related, trained
from test_export import raw_test_rows
from world import params, split_project

from trunkline import stages
from trunkline.balance import Moment
from trunkline.errors import ParamsError
from trunkline.files import check_seal, read_json
from trunkline.nets.network import Network
from trunkline.nets.sharing import read_sharing
from trunkline.project import parse_project
from trunkline.training.arm_files import weight_bytes
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.fading import say
from trunkline.training.fit import Arm, _Trainer, fit

ALMOST_NOTHING = 1e-6
FADING: dict[str, Any] = {"t1": ("cosine", 0.0), "t3": ("linear", 0.3)}


def fading_arm(kind: str, fadings: dict[str, Any], **recipe: Any) -> Arm:
    settings = {"every": 3, "rows": 16} if kind in BY_GRADIENTS else {"every": 3} if kind == "dwa" else {}
    return replace(arm_of(made(kind, **settings), 4, 6, SMALL, **recipe), fadings=fadings)


@pytest.mark.parametrize("kind", BY_GRADIENTS)
def test_a_task_that_says_almost_nothing_turns_no_gradient_of_the_others(kind: str) -> None:
    """However small its weight, a method would else mend the others' gradients for its sake."""
    rows = np.random.default_rng(2).normal(size=(3, 6))
    rows[2] = -rows[0] + 0.1 * rows[1]  # the auxiliary task opposes the first
    of_all, of_two = (made(kind).build([str(place) for place in range(n)], torch.ones(n)) for n in (3, 2))
    of_all.says.copy_(torch.tensor([1, 1, ALMOST_NOTHING]))
    for module, seen in ((of_all, rows), (of_two, rows[:2])):
        count = len(seen)
        gramian = torch.from_numpy(seen @ seen.T)
        module.find(gramian, torch.ones(count), torch.ones(count, dtype=torch.bool), Moment(0, [3]))
    torch.testing.assert_close(of_all.used[:2], of_two.used, atol=1e-4, rtol=1e-4)
    assert abs(float(of_all.used[2])) < 1e-4


@pytest.mark.parametrize("kind", BY_LOSSES)
def test_a_task_that_says_almost_nothing_adds_almost_nothing_to_a_loss(kind: str) -> None:
    module = made(kind).build(["a", "b", "c"], torch.ones(3))
    losses = torch.tensor([0.8, 0.9, 1.2], requires_grad=True)
    shares = []
    for value in (1.0, ALMOST_NOTHING):
        module.says.copy_(torch.tensor([1, 1, value]))
        slope = torch.autograd.grad(module(losses, torch.ones(3, dtype=torch.bool), Moment(1, [0])), losses)[0]
        shares.append(float(slope[2] / slope.sum()))
    assert shares[0] > 0.05
    assert abs(shares[1]) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_resumes_while_a_task_fades(kind: str, tmp_path: Path) -> None:
    rows, seeds = related(count=192), (5, 6)
    arm = fading_arm(kind, FADING, epochs=2)
    whole = [weight_bytes(each.network) for each in trained(arm, rows, tmp_path / "whole", seeds)]
    folder = Checkpoints(tmp_path / "cut", "x")
    cut = _Trainer(arm, rows, rows, seeds, folder, lambda line: None, None)
    cut._end_epoch(cut._train_epoch())
    folder.save(cut._state())
    resumed = [weight_bytes(each.network) for each in fit(arm, rows, rows, seeds, folder, lambda line: None)]
    assert resumed == whole
    assert weight_bytes(trained(replace(arm, fadings={}), rows, tmp_path / "plain", seeds)[0].network) != whole[0]


@pytest.mark.parametrize("kind", ["equal", "pcgrad"])
def test_a_task_whose_say_stays_is_trained_as_a_main_one_but_chooses_nothing(kind: str, tmp_path: Path) -> None:
    rows = related(count=192)
    helped = trained(fading_arm(kind, {"t1": ("none", 0.8)}, epochs=2), rows, tmp_path / "a")[0]
    plain = trained(fading_arm(kind, {}, epochs=2), rows, tmp_path / "b")[0]
    assert weight_bytes(helped.network) == weight_bytes(plain.network)
    last = helped.history[-1]
    assert helped.composite == pytest.approx(1 - sum(last[f"validation.{name}"] for name in ("t0", "t2", "t3")) / 3)
    assert helped.composite != plain.composite


def test_the_weights_kept_are_the_best_for_the_main_tasks_also_from_before_a_task_has_faded(tmp_path: Path) -> None:
    rows, fading = related(count=192), {"t1": ("linear", 0.9)}
    arm = fading_arm("equal", fading, epochs=6, keep="best", learning_rate=0.05)
    fitted = trained(arm, rows, tmp_path / "a")[0]
    main = [1 - np.mean([row[f"validation.{name}"] for name in ("t0", "t2", "t3")]) for row in fitted.history]
    everything = [1 - np.mean([row[f"validation.t{place}"] for place in range(4)]) for row in fitted.history]
    assert [row["composite"] for row in fitted.history] == pytest.approx(main)
    assert main != pytest.approx(everything)
    assert fitted.kept_epoch == int(np.argmax(main)) + 1


def test_the_say_falls_where_it_is_told_to_and_stays_above_0() -> None:
    for form in ("linear", "cosine"):
        says = [say((form, 0.8), step, 100) for step in range(100)]
        assert says[:81] == [1.0] * 81
        assert all(0 < after < before for before, after in pairwise(says[80:]))
        assert says[-1] < 0.06
    assert say(("none", 0.0), 99, 100) == say(None, 99, 100) == 1.0


@pytest.mark.parametrize("sharing", ["hard", "mmoe", "lora"])
def test_a_network_without_a_head_says_the_same_of_the_other_tasks(sharing: str) -> None:
    states: list[Any] = [{"outputs": count, "bias": [0.0] * count} for count in (1, 3, 2)]
    form = read_sharing({"kind": sharing})
    network = Network(5, [4], states, SMALL, torch.Generator().manual_seed(0), form).eval()
    features, codes = torch.randn(7, 5), torch.randint(0, 4, (7, 1))
    slim = network.without([False, True, False], states)(features, codes)
    torch.testing.assert_close(slim, network(features, codes)[:, [0, 4, 5]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("auxiliary")
    tasks = {**params()["tasks"], "spend": {"kind": "regression", "target": "spent", "role": "auxiliary"}}
    project = split_project(root, 1200, tasks={name: tasks[name] for name in ("spend", "churn", "plan")},
                            alone={"match": "parameters"}, evaluation={"draws": 200})  # fmt: skip
    for name in ("encode", "train"):
        stages.STAGES[name](root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    stages.export(root, project)
    return root


def test_the_file_gives_the_main_tasks_alone_and_scores_as_was_reported(finished: Path) -> None:
    content = (finished / "models" / "export" / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    assert names == ["churn.probability", "plan.probability", "churn.label", "plan.label"]
    assert b"spend" not in content
    feeds, test = raw_test_rows(finished)
    found = dict(zip(names, session.run(names, feeds), strict=True))
    reported = read_json(finished / "reports" / "evaluation.json")
    assert list(reported["tasks"]) == ["churn", "plan"]
    known = test["churned"].notna().to_numpy()
    score = metrics.roc_auc_score(test["churned"][known].astype(int), found["churn.probability"][known, 0])
    assert score == pytest.approx(reported["tasks"]["churn"]["exported"]["roc_auc"], abs=1e-4)
    known = test["plan_name"].notna().to_numpy()
    right = metrics.accuracy_score(test["plan_name"][known], found["plan.label"][known, 0])
    assert right == pytest.approx(reported["tasks"]["plan"]["exported"]["accuracy"], abs=1e-4)


def test_it_was_learned_along_and_stands_in_report_and_card(finished: Path) -> None:
    run = read_json(finished / "models" / "shared" / "run.json")
    assert run["auxiliary"] == {"spend": ["linear", 0.8]}
    history = (finished / "models" / "shared" / "history.tsv").read_text().splitlines()
    last = dict(zip(history[0].split("\t"), map(float, history[-1].split("\t")), strict=True))
    assert last["validation.spend"] < 0.8  # 1 = constant prediction
    evaluation = read_json(finished / "reports" / "evaluation.json")
    helper = evaluation["auxiliary"]["spend"]
    assert (helper["kind"], helper["anneal"], helper["anneal_from"]) == ("regression", "linear", 0.8)
    said = f"spend (regression, {helper['labelled']['train']} labelled training rows): its say falls to nothing"
    assert said in (finished / "reports" / "report.html").read_text()
    assert said in (finished / "models" / "export" / "MODEL_CARD.md").read_text()
    assert (
        "One shared model for 2 tasks, trained along with 1 auxiliary."
        in (finished / "reports" / "report.html").read_text()
    )
    assert read_json(finished / "models" / "export" / "card.json")["auxiliary"] == evaluation["auxiliary"]


def test_nothing_is_trained_for_it_alone(finished: Path) -> None:
    folder = finished / "models" / "alone" / "spend"
    check_seal(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["auxiliary.json", "manifest.json"]
    assert "nothing was trained" in read_json(folder / "auxiliary.json")["says"]
    assert read_json(finished / "data" / "encoded" / "alone.json")["models"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": {name: {"role": "auxiliary"} for name in ("churn", "plan", "spend")}}, "tasks: all are auxiliary"),
        ({"tasks": {"plan": {"anneal": "none"}}}, "tasks.plan.anneal: says nothing of a main task"),
        (
            {"tasks": {"churn": {"role": "auxiliary"}, "spend": {"given": {"churn": True}}}},
            "tasks.spend.given: 'churn' is auxiliary and not exported",
        ),
        (
            {"tasks": {"churn": {"role": "auxiliary"}}, "evaluation": {"gates": {"churn": {"max_regret": 0.1}}}},
            "evaluation.gates: 'churn' is auxiliary, which is not judged",
        ),
        (
            {"tasks": {"churn": {"role": "auxiliary"}}, "calibration": {"coverage": {"churn": 0.9}}},
            "calibration.coverage: 'churn' is auxiliary",
        ),
    ],
)
def test_what_an_auxiliary_task_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    content = params()
    for name, held in changes.pop("tasks").items():
        content["tasks"][name] |= held
    with pytest.raises(ParamsError) as caught:
        parse_project(content | changes)
    assert words in str(caught.value)
