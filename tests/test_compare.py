"""Two runs side by side, in real folders and a real git repository, and what is answered where there is none."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trunkline.cli import left_behind
from trunkline.errors import ArtifactError, EnvironmentFault, ParamsError
from trunkline.evaluation.compare import Run, compare
from trunkline.files import write_json, write_text

PARAMS = """\
version: 1
seed: 0
training: {seeds: 5, epochs: 3}
tasks:
  arr60: {kind: binary, target: arr60}
"""
LOCK = """\
schema: '2.0'
stages:
  split:
    outs:
    - path: data/split
      md5: 0a.dir
  train:
    deps:
    - path: data/split
      md5: 0a.dir
    - path: src/trunkline/training
      md5: 1b.dir
    params:
      params.yaml:
        training:
          seeds: 5
          epochs: 3
"""
GAINS = [0.010, 0.012, 0.011, 0.009, 0.013]


def task(shared: float = 0.73, higher: bool = True, **changes: Any) -> dict[str, Any]:
    metric = "roc_auc" if higher else "mae"
    transfer = {"gain": 0.011, "interval": [0.008, 0.014], "verdict": "helped", "seeds": 5, "gains": GAINS}
    return {
        "kind": "binary" if higher else "regression",
        "primary": metric,
        "higher_is_better": higher,
        "shared": {metric: shared, "log_loss": 0.4},
        "alone": {metric: shared - 0.011},
        "exported": {metric: shared + 0.001},
        "intervals": {"shared": {metric: [shared - 0.01, shared + 0.01]}},
        "transfer": transfer | changes,
    }


def evaluation(**tasks: dict[str, Any]) -> dict[str, Any]:
    return {"tasks": tasks, "composite": {"delta_m_percent": 1.5}, "deployable": True}


def run(params: dict[str, Any] | None = None, split: str = "0a.dir", **tasks: dict[str, Any]) -> Run:
    lock = {"stages": {"split": {"outs": [{"path": "data/split", "md5": split}]}}}
    return Run("x", evaluation(**tasks), {"seed": 0} if params is None else params, lock)


def lay_down(root: Path, found: dict[str, Any], params: str = PARAMS, lock: str = LOCK) -> Path:
    """Write what a run leaves behind."""
    write_json(root / "reports/evaluation.json", found)
    write_text(root / "params.yaml", params)
    write_text(root / "dvc.lock", lock)
    write_text(root / "dvc.yaml", "stages: {}\n")
    return root


def git(root: Path, *words: str) -> None:
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *named, *words], check=True, capture_output=True)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder of a git repository: no run, a run, another run, and a changed working tree."""
    repository = tmp_path_factory.mktemp("repository")
    root = repository / "project"
    write_text(root / "README", "no run yet")
    git(repository, "init", "--quiet", ".")
    later = LOCK.replace("1b", "2c").replace("epochs: 3", "epochs: 4")
    commits = [
        ("start", None),
        ("first", (evaluation(arr60=task(0.73)), PARAMS, LOCK)),
        ("second", (evaluation(arr60=task(0.76)), PARAMS.replace("3}", "4}"), later)),
    ]
    for name, left in commits:
        if left:
            lay_down(root, *left)
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "-m", name)
        git(repository, "tag", name)
    write_text(root / "params.yaml", PARAMS.replace("3}", "9}"))
    return root


def call(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trunkline", "compare", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


# --- where a run is found ---------------------------------------------------------------------------------


def test_two_revisions_are_compared_without_touching_the_working_tree(history):
    before = (history / "params.yaml").read_text()
    found = json.loads(call(history, "first", "second", "--json").stdout)
    assert found["tasks"]["arr60"]["shared"] == [0.73, 0.76]
    assert found["tasks"]["arr60"]["difference"] == pytest.approx(0.03)
    assert found["tasks"]["arr60"]["overlap"] is False
    assert found["changed"] == {"params": {"training.epochs": [3, 4]}, "data": [], "code": ["src/trunkline/training"]}
    assert found["remarks"] == []
    assert (history / "params.yaml").read_text() == before


def test_the_working_tree_is_the_default_and_settings_that_never_ran_are_said(history):
    found = json.loads(call(history, "first", "--json").stdout)
    assert (found["a"][:7], found["b"]) == ("first (", "working tree")
    assert found["changed"]["params"] == {"training.epochs": [3, 9]}
    assert found["remarks"] == ["working tree: params.yaml was changed after the run (training); see `trunkline plan`"]


def test_two_folders_are_compared_outside_any_project(tmp_path):
    lay_down(tmp_path / "a", evaluation(arr60=task()))
    lay_down(tmp_path / "b", evaluation(arr60=task(0.70)), lock=LOCK.replace("0a", "0b"))
    done = call(tmp_path, "a", "b", "--json")
    found = json.loads(done.stdout)
    assert (done.stderr, found["a"], found["b"]) == ("", "a", "b")
    assert found["tasks"]["arr60"]["difference"] == pytest.approx(-0.03)
    assert found["changed"]["data"] == ["data/split"]
    assert "different test rows" in found["remarks"][0]


def test_a_folder_goes_before_a_revision_of_the_same_name(history, monkeypatch):
    monkeypatch.chdir(history)
    assert left_behind.read_run("first").name.startswith("first (")
    lay_down(history / "first", evaluation(arr60=task(0.5)))
    try:
        assert left_behind.read_run("first").tasks["arr60"]["shared"]["roc_auc"] == 0.5
    finally:
        git(history, "clean", "-dfq", "first")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["start"], 4, "start ("),
        (["no-such-tag"], 2, "is no revision of this repository"),
        (["HEAD~99"], 2, "is no revision of this repository"),
        (["reports"], 2, "the folder reports holds no reports/evaluation.json"),
        (["--", "--output=x"], 2, "is no revision of this repository"),
        (["first", "second", "third"], 2, "third"),
    ],
)
def test_what_holds_no_run_is_answered_in_a_line(history, words, code, said):
    done = call(history, *words)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert said in line


def test_outside_git_and_outside_a_project_a_revision_has_no_meaning(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "in a project only" in call(tmp_path, "HEAD").stderr
    lay_down(tmp_path, evaluation(arr60=task()))
    done = call(tmp_path, "HEAD")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "not a git repository" in done.stderr


def test_without_git_folders_can_still_be_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(lay_down(tmp_path, evaluation(arr60=task())))
    monkeypatch.setenv("PATH", "")
    assert left_behind.read_run(".").name == "."
    with pytest.raises(EnvironmentFault, match="compare two folders"):
        left_behind.read_run("HEAD")


def test_damaged_files_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(lay_down(tmp_path, evaluation(arr60=task())))
    write_text(tmp_path / "reports/evaluation.json", '{"tasks": ')
    with pytest.raises(ArtifactError, match="not readable JSON"):
        left_behind.read_run(None)
    write_text(tmp_path / "reports/evaluation.json", "[]")
    with pytest.raises(ArtifactError, match="has no 'tasks'"):
        left_behind.read_run(None)
    lay_down(tmp_path, evaluation(), params="seed: [1\n")
    with pytest.raises(ParamsError, match=r"params\.yaml is not YAML"):
        left_behind.read_run(None)


# --- what is compared -------------------------------------------------------------------------------------


def test_a_difference_is_turned_so_that_plus_is_better():
    found = compare(run(arr=task(9.5, higher=False)), run(arr=task(9.1, higher=False)))
    assert found["tasks"]["arr"]["difference"] == pytest.approx(0.4)


def test_gains_are_pairs_only_with_the_same_seeds_on_the_same_rows():
    better = [gain + 0.004 + wobble for gain, wobble in zip(GAINS, [0, 1e-4, -1e-4, 2e-4, -2e-4], strict=True)]
    a, b = run(arr60=task()), run(arr60=task(gain=0.015, gains=better))
    change = compare(a, b)["tasks"]["arr60"]["gain_change"]
    assert (change["mean"], change["seeds"]) == (pytest.approx(0.004), 5)
    low, high = change["interval"]
    assert (low, high) == (pytest.approx(0.004 - 0.00019631, abs=1e-7), pytest.approx(0.004 + 0.00019631, abs=1e-7))
    assert compare(a, a)["tasks"]["arr60"]["gain_change"]["interval"] == [0, 0]
    strangers = [
        run(arr60=task(gains=better), params={"seed": 1}),
        run(arr60=task(gains=better), split="0b.dir"),
        run(arr60=task(gains=better[:4])),
        Run("x", b.evaluation, {"seed": 0}, {}),
        Run("x", b.evaluation, {}, b.lock),
    ]
    assert [compare(a, other)["tasks"]["arr60"]["gain_change"] for other in strangers] == [None] * 5


def test_a_task_judged_by_another_metric_is_compared_by_the_new_one():
    other = copy.deepcopy(task())
    other |= {"primary": "log_loss", "higher_is_better": False}
    found = compare(run(arr60=task()), run(arr60=other))
    assert found["tasks"]["arr60"]["shared"] == [0.4, 0.4]
    assert (found["tasks"]["arr60"]["gain"][0], found["tasks"]["arr60"]["gain_change"]) == (None, None)
    assert "A was judged by roc_auc, B by log_loss" in found["remarks"][0]


def test_tasks_of_one_run_only_are_named():
    found = compare(run(both=task(), old=task()), run(new=task(), both=task()))
    assert (list(found["tasks"]), found["only_in_a"], found["only_in_b"]) == (["both"], ["old"], ["new"])


def test_what_cannot_be_told_is_said():
    bare = Run("bare", evaluation(arr60=task()), {}, {})
    found = compare(run(arr60=task()), bare)
    assert found["changed"] == {"params": {}, "data": [], "code": []}
    assert [remark.split(";")[0].split(", so")[0] for remark in found["remarks"]] == [
        "bare: holds no params.yaml",
        "bare: holds no dvc.lock",
    ]


def test_settings_written_in_one_run_only_show_as_not_set():
    found = compare(run(params={"a": {"b": 1, "c": {}}}), run(params={"a": {"b": 1}, "d": [1]}))
    assert found["changed"]["params"] == {"a.c": [{}, None], "d": [None, [1]]}


# --- what is shown ----------------------------------------------------------------------------------------


def test_the_page_fits_100_columns_and_is_plain_text(history, tmp_path):
    names = ["arr60", "a_name_of_a_task_that_is_as_long_as_params_yaml_takes_it_up_to_64"]
    tasks = {name: task() | {"primary": "average_precision"} for name in names}
    for each in tasks.values():
        for side in ("shared", "exported"):
            each[side]["average_precision"] = 0.123456
        each["transfer"] |= {"verdict": "inconclusive", "gain": -0.0123}
    lay_down(tmp_path, evaluation(**tasks))
    done = call(history, "first", str(tmp_path))
    assert done.returncode == 0
    same = call(tmp_path, str(tmp_path), str(tmp_path)).stdout
    for page in (done.stdout, same):
        assert max(map(len, page.splitlines())) <= 100
        assert page.isascii() and "\x1b" not in page
        assert "…" not in page


def test_the_page_says_how_far_its_intervals_go(history):
    page = " ".join(call(history, "first", "second").stdout.split())
    assert "arr60 roc_auc 0.7300 0.7600 +0.030 apart 0.7310 0.7610" in page
    assert "arr60 +0.011 +0.011 0 0 to 0 helped helped" in page
    assert "no paired test" in page
    assert "params.yaml: training.epochs: 3 -> 4" in page
    assert "code differs: src/trunkline/training" in page


def test_runs_of_one_seed_without_intervals_are_compared_too(tmp_path):
    old = task(interval=None)
    del old["intervals"], old["transfer"]["gains"]
    lay_down(tmp_path, evaluation(arr60=old))
    page = call(tmp_path, ".").stdout
    assert "intervals:" not in page and "by seed:" not in page
    assert "no difference in settings, data or code is known" in page
