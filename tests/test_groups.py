"""`trunkline groups`: what the last run suggests, and its confirmation by training, without reading a test row."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GLUE, REPOSITORY, CheapProject
from scipy import stats
from world import PARAMS, split_project

from trunkline import stages
from trunkline.cli import groups as groups_command
from trunkline.cli.settings import change_settings
from trunkline.data.encode import Encoded
from trunkline.errors import ArtifactError, BusyError
from trunkline.files import to_json, write_json
from trunkline.pipeline.lock import hold
from trunkline.project import load_project
from trunkline.training.arm import halves, load_arm
from trunkline.training.groups import compare_groupings, paired, recommend
from trunkline.training.judge import predictions

TASKS = list(PARAMS["tasks"])
PAIR = [["churn", "plan"], ["spend"]]


def affinity(tasks: list[str], *groupings: list[list[str]]) -> dict[str, Any]:
    suggested = [{"groups": groups, "score": 0.5 - place} for place, groups in enumerate(groupings)]
    return {"tasks": tasks, "groupings": suggested, "conflicts": [], "says": ["Affinity suggests."]}


# --- what is suggested ------------------------------------------------------------------------------------


def test_the_suggestions_of_the_last_run_are_printed(finished_project: CheapProject):
    write_json(finished_project.root / groups_command.ANALYSIS, {"affinity": affinity(["a", "b"], [["a", "b"]])})
    done = finished_project.call("trunkline", "groups")
    assert done.returncode == 0, done.stderr
    assert "+0.50  a + b" in done.stdout and "Affinity suggests." in done.stdout
    as_json = json.loads(finished_project.call("trunkline", "groups", "--json").stdout)
    assert as_json["groupings"] == [{"groups": [["a", "b"]], "score": 0.5}]
    assert "confirmed" not in as_json


@pytest.mark.parametrize(
    ("analysis", "code", "said"),
    [
        (None, 4, "analysis.json: is missing; run `trunkline run`"),
        ({"affinity": None}, 2, "params.yaml: monitor.every: 20; the last run measured no affinity"),
        ({"affinity": affinity(["a", "z"])}, 2, "tasks are a, b, but the last run measured a, z"),
    ],
)
def test_what_is_missing_is_said_in_a_line(finished_project: CheapProject, analysis, code, said):
    if analysis:
        write_json(finished_project.root / groups_command.ANALYSIS, analysis)
    done = finished_project.call("trunkline", "groups")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_models_of_other_params_are_not_compared(finished_project: CheapProject):
    write_json(finished_project.root / groups_command.ANALYSIS, {"affinity": affinity(["a", "b"], [["a"], ["b"]])})
    finished_project.change("epochs: 3", "epochs: 4")
    done = finished_project.call("trunkline", "groups", "--confirm")
    assert done.returncode == ArtifactError.code
    assert "train would run again" in done.stderr


# --- confirmation -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project without a stage, so that none is stale, whose arms are trained."""
    root = tmp_path_factory.mktemp("groups") / "project"
    root.mkdir()
    for name in GLUE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    project = split_project(root, 1200, training={"seeds": 3, "epochs": 2}, monitor={"every": 0, "lookahead": 0})
    stages.encode(root, project)
    stages.train(root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    write_json(root / groups_command.ANALYSIS, {"affinity": affinity(TASKS, PAIR, [TASKS])})
    return root


@pytest.fixture
def project(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(trained_once, root)
    monkeypatch.chdir(root)
    return root


def confirm(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    capsys.readouterr()
    assert groups_command.groups(confirm=True, as_json=True) == 0
    told = capsys.readouterr()
    return json.loads(told.out)["confirmed"], told.err


def test_groups_are_trained_once_and_again_only_after_a_change(project: Path, capsys):
    first, told = confirm(capsys)
    assert "churn + plan: trains" in told
    assert "spend: trains" not in told, "the models alone are there"
    assert len(list((project / groups_command.WORK).iterdir())) == 1
    again, told = confirm(capsys)
    assert told.splitlines() == ["churn + plan: trained before"]
    assert again == first
    change_settings(project, ["training.learning_rate=0.02"])
    assert "churn + plan: trains" in confirm(capsys)[1]


def test_a_group_whose_file_was_altered_is_trained_again(project: Path, capsys):
    first, _ = confirm(capsys)
    (folder,) = (project / groups_command.WORK).iterdir()
    (folder / "0.safetensors").write_bytes(b"other")
    again, told = confirm(capsys)
    assert "churn + plan: trains" in told
    assert again == first


def test_the_comparison_reads_validation_rows_that_chose_nothing_and_no_test_row(
    project: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    sides, whole = set(), Encoded.side

    def noted(encoded: Encoded, side: str) -> Any:
        sides.add(side)
        return whole(encoded, side)

    monkeypatch.setattr(Encoded, "side", noted)
    found, _ = confirm(capsys)
    assert sides == {"train", "validation"}
    declared = load_project(project)
    encoded = Encoded(project / stages.ENCODED, TASKS)
    rows = whole(encoded, "validation")
    places = halves(len(rows.features), declared.seed)[1]
    assert found["rows"] == len(places) < len(rows.features)
    (folder,) = (project / groups_command.WORK).iterdir()
    labels = np.asarray(rows.labels["churn"])[places]
    known = ~np.isnan(labels)
    expected = [
        declared.tasks["churn"].scores(labels[known], of_seed["churn"][places][known], encoded.states["churn"])[
            "roc_auc"
        ]
        for of_seed in predictions(load_arm(folder, encoded.encoder), rows)
    ]
    churn = found["groupings"][0]["tasks"]["churn"]
    assert churn["grouped"] == pytest.approx(np.mean(expected))
    assert churn["on_together"]["mean"] == pytest.approx(churn["grouped"] - churn["together"])
    assert churn["on_alone"]["mean"] == pytest.approx(churn["grouped"] - churn["alone"])


def test_what_is_the_same_model_gains_nothing_on_itself(project: Path, capsys):
    found, _ = confirm(capsys)
    pair, together = found["groupings"]
    assert pair["tasks"]["spend"]["on_alone"]["gains"] == [0, 0, 0]
    assert all(task["on_together"]["gains"] == [0, 0, 0] for task in together["tasks"].values())
    assert together["composite"]["mean"] == 0


def test_the_table_names_every_task_with_its_gains_and_ends_with_the_advice(project: Path, capsys):
    assert groups_command.groups(confirm=True, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines[: lines.index("churn + plan + spend")] if line.startswith("plan ")]
    assert "accuracy" in row and " to " in row and ", t " in row
    assert lines[-1].startswith(("Keep one model", "Train churn + plan | spend apart"))
    assert lines[-1].endswith("the test rows were not read.")


def test_nothing_is_trained_while_another_run_holds_the_project(project: Path):
    with hold(project), pytest.raises(BusyError):
        groups_command.groups(confirm=True)


def test_arms_of_different_numbers_of_seeds_are_no_pairs(project: Path, trained_once: Path):
    declared = load_project(trained_once)
    one = declared.model_copy(update={"training": declared.training.model_copy(update={"seeds": 1})})
    stages.baseline(project, one, "spend")
    folders = {tuple(TASKS): project / stages.SHARED, **{(name,): project / stages.ALONE / name for name in TASKS}}
    with pytest.raises(ArtifactError, match="different numbers of seeds"):
        compare_groupings(declared.tasks, Encoded(project / stages.ENCODED, TASKS), folders, [], declared.seed)


# --- what is recommended ----------------------------------------------------------------------------------


def result(*gains: list[float], seeds: int = 5) -> dict[str, Any]:
    groupings = [{"groups": PAIR, "composite": paired(np.array(each))} for each in gains]
    together = {"groups": [TASKS], "composite": paired(np.zeros(seeds))}
    return json.loads(to_json({"rows": 5000, "seeds": seeds, "groupings": [together, *groupings]}))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (result([1.0, 1.1, 0.9, 1.0, 1.2]), "Train churn + plan | spend apart: better than one model for all (+1.04"),
        (result([1.0, -1.1, 0.9, -1.0, 1.2]), "Keep one model for all tasks: no grouping is better beyond chance"),
        (result([-1.0, -1.1, -0.9, -1.0, -1.2]), "Keep one model for all tasks: no grouping is better beyond chance"),
        (result([1.0], seeds=1), "One training per arm cannot be told from chance"),
        (result(), "Keep one model for all tasks: their affinities suggest no other grouping"),
    ],
)
def test_a_split_is_recommended_only_beyond_chance(found, said):
    assert recommend(found).startswith(said)
    assert recommend(found).endswith("Judged on 5,000 validation rows; the test rows were not read.")


def test_the_more_groupings_are_tried_the_surer_the_best_must_be():
    gains = [0.1, 0.6, 0.2, 0.9, 0.3]
    assert recommend(result(gains)).startswith("Train")
    assert recommend(result(gains, gains, gains)).startswith("Keep")


def test_the_paired_test_is_that_of_scipy():
    gains = np.array([0.01, 0.04, -0.02, 0.03, 0.02])
    found, known = paired(gains), stats.ttest_1samp(gains, 0)
    assert found["t"] == pytest.approx(known.statistic)
    assert found["p"] == pytest.approx(known.pvalue)
    assert found["interval"] == pytest.approx(list(known.confidence_interval(0.95)))
