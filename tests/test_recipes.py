"""Whole runs beside each other: each in a clone of its own, here or on a Dask cluster; none takes another along."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import REPOSITORY, CheapProject
from test_pipeline import alive, run, until

from trunkline.cli.app import main
from trunkline.files import sha256

JUDGE = """\
import json, sys
from pathlib import Path
epochs = int(Path("models/shared/weights").read_text().split()[1])
task = {"primary": "r2", "higher_is_better": True, "shared": {"r2": epochs / 10}, "alone": {"r2": 0.3},
        "exported": {"r2": epochs / 10}, "transfer": {"gain": 0.1, "interval": None, "verdict": "helped"}}
Path("reports").mkdir(exist_ok=True)
found = {"tasks": {"b": task}, "composite": {"delta_m_percent": 1.5}, "gates": [], "deployable": True}
Path("reports/evaluation.json").write_text(json.dumps(found))
Path("reports/report.html").write_text(f"{epochs} epochs")
"""
EVALUATE = """\
  evaluate:
    cmd: sh .ci/in-env.sh python judge.py
    deps: [models/shared]
    metrics: [reports/evaluation.json: {cache: false}]
    outs: [reports/report.html]
"""
RECIPES = "as-it-is: {}\nlonger: {set: [training.epochs=7]}\nbroken: {set: [training.batch=2]}\n"


def git(root: Path, *words: str | Path) -> None:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *named, *map(str, words)], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "as it is")


@pytest.fixture(scope="module")
def project_once(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a committed project with an evaluation; a run with batches of two rows fails in it."""
    root = tmp_path_factory.mktemp("recipes") / "project"
    shutil.copytree(finished_once, root)
    shutil.copy(REPOSITORY / ".gitignore", root)
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "judge.py").write_text(JUDGE)
    stages = root / "cheap_stages.py"
    fails = 'if project.training.batch == 2:\n        raise errors.DataError("train: two rows")\n    print("epoch 1"'
    stages.write_text(stages.read_text().replace('print("epoch 1"', fails))
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text() + EVALUATE)
    for words in (["add", "-q", "data/incoming"], ["repro", "-q"]):
        assert CheapProject(root).call("dvc", *words).returncode == 0
    commit(root)
    (root / "recipes.yaml").write_text(RECIPES)
    return root


@pytest.fixture
def project(project_once: Path, tmp_path: Path) -> CheapProject:
    shutil.copytree(project_once, tmp_path / "project")
    return CheapProject(tmp_path / "project")


def try_them(project: CheapProject, *words: str) -> subprocess.CompletedProcess[str]:
    """Try the recipes of recipes.yaml; a loaded machine takes minutes for it."""
    with project.start("trunkline", "recipes", "recipes.yaml", *words) as process:
        out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def by_name(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(done.stdout)["recipes"]}


def test_recipes_run_beside_each_other_and_one_that_fails_takes_none_along(project):
    before = sha256(project.root / "dvc.lock")
    done = try_them(project, "--json")
    assert done.stdout, done.stderr
    found = by_name(done)
    assert (done.returncode, done.stderr) == (3, "")
    assert {name: (each["code"], each["ran"]) for name, each in found.items()} == {
        "as-it-is": (0, 0),
        "longer": (0, 2),
        "broken": (3, 0),
    }
    assert found["broken"]["said"] == "train: two rows"
    assert found["longer"]["evaluation"]["tasks"]["b"]["shared"] == {"r2": 0.7}
    assert [path.name for path in (project.root / ".trunkline/clones").iterdir()] == ["broken"]
    assert sha256(project.root / "dvc.lock") == before
    git(project.root, "diff", "--exit-code")

    compared = project.call(
        "trunkline", "compare", ".trunkline/recipes/as-it-is", ".trunkline/recipes/longer", "--json"
    )
    changed = json.loads(compared.stdout)["changed"]
    assert (changed["params"], changed["data"]) == ({"training.epochs": [3, 7]}, [])

    # What the last lines say: a recipe's result becomes the project's, and nothing is trained for it.
    shutil.copytree(project.root / ".trunkline/recipes/longer", project.root, dirs_exist_ok=True)
    assert project.call("dvc", "checkout", "-q").returncode == 0
    assert (project.root / "models/shared/weights").read_text() == "epochs 7"
    assert set(run(project).states.values()) == {"cached"}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, processes with a home of their own."""
    distributed = pytest.importorskip("distributed", reason="needs prefect-dask: pip install 'trunkline[dask]'")
    pytest.importorskip("prefect_dask", reason="needs prefect-dask: pip install 'trunkline[dask]'")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found.scheduler_address


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_of_a_dask_cluster_reach_the_data_by_the_shared_remote_and_bring_their_results_there(
    project, cluster, tmp_path
):
    (project.root / "recipes.yaml").write_text(RECIPES.replace("as-it-is: {}", "long: {set: [training.epochs=5]}"))
    refused = try_them(project, "--dask", cluster)
    assert (refused.returncode, "dvc remote add" in refused.stderr) == (2, True)
    assert project.call("dvc", "remote", "add", "-q", "-d", "shared", tmp_path / "remote").returncode == 0
    assert project.call("dvc", "push", "-q").returncode == 0
    commit(project.root)

    done = try_them(project, "--dask", cluster, "--json")
    assert done.stdout, done.stderr
    found = by_name(done)
    assert (done.returncode, done.stderr) == (3, "")
    assert {name: (each["code"], each["ran"]) for name, each in found.items()} == {
        "longer": (0, 2),
        "long": (0, 2),
        "broken": (3, 0),
    }
    assert not (project.root / ".trunkline/clones").exists()
    assert found["broken"]["clone"].startswith(str(tmp_path / "home"))

    shutil.copytree(project.root / ".trunkline/recipes/longer", project.root, dirs_exist_ok=True)
    assert (project.root / "models/shared/weights").read_text() != "epochs 7"
    assert project.call("dvc", "pull", "-q").returncode == 0
    assert (project.root / "models/shared/weights").read_text() == "epochs 7"
    assert set(run(project).states.values()) == {"cached"}


@pytest.mark.slow
def test_a_cluster_on_this_machine_is_started_and_ended_for_the_runs(project):
    pytest.importorskip("prefect_dask", reason="needs prefect-dask: pip install 'trunkline[dask]'")
    (project.root / "recipes.yaml").write_text("as-it-is: {}\nlonger: {set: [training.epochs=7]}\n")
    done = try_them(project, "--dask", "local")
    assert (done.returncode, done.stderr) == (0, "")
    table = done.stdout[done.stdout.index("task  ") :].splitlines()
    assert table[:2] == ["task  metric  as-it-is  longer", "b     r2           0.3     0.7"]


def start(project: CheapProject) -> subprocess.Popen[str]:
    """Start one recipe whose training takes a minute, and wait until it trains."""
    (project.root / "recipes.yaml").write_text("longer: {set: [training.epochs=7]}\nlong: {set: [training.epochs=5]}\n")
    process = project.start("trunkline", "recipes", "recipes.yaml", "--at-once", "1", train="slow")
    until((project.root / ".trunkline/clones/longer/.trunkline/training").exists, 120)
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_no_run_outlives_the_command_and_none_is_started_after_its_end(project, number, code):
    process = start(project)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    until(lambda: not alive(family), 60)
    assert [path.name for path in (project.root / ".trunkline/clones").iterdir()] == ["longer"]


# --- what is refused before anything starts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no recipes"),
        ("- wide", "holds no recipes"),
        ("../wide: {}", "'../wide': becomes a folder"),
        ("wide: {sett: [a=1]}", "wide: sett: is not a setting here; did you mean 'set'?"),
        ("wide: {set: [training.epoch=1]}", "wide: params.yaml: training.epoch: is not a setting here"),
        ("wide: {set: [training.batch=1]}", "wide: params.yaml: training.batch: found 1"),
        ("wide: {revision: nowhere}", "wide.revision: 'nowhere' is no revision"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused_in_a_line(project, text, said, capsys, monkeypatch):
    (project.root / "recipes.yaml").write_text(text)
    monkeypatch.chdir(project.root)
    assert main(["recipes", "recipes.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_what_a_clone_would_lack_is_refused(project, capsys, monkeypatch):
    monkeypatch.chdir(project.root)
    project.change("epochs: 3", "epochs: 4")
    assert main(["recipes", "recipes.yaml"]) == 2
    assert "params.yaml: changed and not committed" in capsys.readouterr().err
    project.change("epochs: 4", "epochs: 3")
    git(project.root, "rm", "--quiet", "data/incoming.dvc")
    commit(project.root)
    project.change("key: [x]", "source: {kind: files}\n  key: [x]")
    commit(project.root)
    assert main(["recipes", "recipes.yaml"]) == 2
    assert "data/incoming: neither git nor DVC knows first.csv, so" in capsys.readouterr().err
    for name in ("README.md", "second.csv", "third.csv", "last.csv"):
        (project.root / "data/incoming" / name).write_text("x\n")
    git(project.root, "add", "--force", "data/incoming/README.md")
    commit(project.root)
    assert main(["recipes", "recipes.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "first.csv, last.csv, second.csv and 1 more" in line
    assert "`git rm -r --cached data/incoming`, `dvc add data/incoming`" in line


def test_a_file_of_recipes_that_is_missing_is_named(project, capsys, monkeypatch):
    monkeypatch.chdir(project.root)
    assert main(["recipes", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.yaml: not found; write it")


def test_a_cluster_elsewhere_needs_the_extra_and_a_server_of_prefect_that_it_reaches(project, capsys, monkeypatch):
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main(["recipes", "recipes.yaml", "--dask", "tcp://192.0.2.1:8786"]) == 2
    needed = "PREFECT_API_URL" if importlib.util.find_spec("prefect_dask") else "trunkline[dask]"
    assert needed in capsys.readouterr().err
