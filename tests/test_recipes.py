"""Whole runs beside each other: each in a clone of its own, here or on a Dask cluster; none takes another along."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import REPOSITORY, CheapProject
from test_pipeline import NAMES, alive, run, until

from trunkline.cli.recipes_table import lines
from trunkline.errors import ParamsError
from trunkline.files import sha256
from trunkline.pipeline.clones import Ended
from trunkline.pipeline.recipes import read_recipes

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


@pytest.fixture
def project(finished_project: CheapProject) -> CheapProject:
    """A committed project with an evaluation; a run with batches of two rows fails in it."""
    root = finished_project.root
    shutil.copy(REPOSITORY / ".gitignore", root)
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "judge.py").write_text(JUDGE)
    stages = root / "cheap_stages.py"
    fails = 'if project.training.batch == 2:\n        raise errors.DataError("train: two rows")\n    print("epoch 1"'
    stages.write_text(stages.read_text().replace('print("epoch 1"', fails))
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text() + EVALUATE)
    assert finished_project.call("dvc", "add", "-q", "data/incoming").returncode == 0
    assert finished_project.call("dvc", "repro", "-q").returncode == 0
    commit(root)
    (root / "recipes.yaml").write_text(RECIPES)
    return finished_project


def by_name(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(done.stdout)["recipes"]}


def test_recipes_run_beside_each_other_and_one_that_fails_takes_none_along(project):
    before = sha256(project.root / "dvc.lock")
    done = project.call("trunkline", "recipes", "recipes.yaml", "--json")
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
