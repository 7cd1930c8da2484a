"""Versions of data, settings and models: pushed and pulled by DVC, gone back to, and the same bytes each time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, CheapProject
from test_demo import lay_down
from test_pipeline import NAMES, run

from trunkline.files import sha256

RESULTS = ("dvc.lock", "data/raw", "models", "reports")


def call(root: Path, *words: str) -> str:
    """Run a command of trunkline or DVC to its end, and return what it printed."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *words: str | Path) -> None:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *named, *map(str, words)], cwd=root, check=True, capture_output=True)


def share(root: Path, remote: Path) -> None:
    """Let DVC version the drops, with a folder as the remote, as docs/versions.md says."""
    call(root, "dvc", "remote", "add", "-q", "-d", "shared", str(remote))
    call(root, "dvc", "add", "-q", "data/incoming")


def keep(root: Path, name: str) -> None:
    """Commit what the last run left, and push what git does not hold."""
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", name)
    git(root, "tag", name)
    call(root, "dvc", "push", "-q")


def left_by(root: Path) -> dict[str, str]:
    """Return the sha256 of every file that a run leaves."""
    places = [root / name for name in RESULTS]
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    return {path.relative_to(root).as_posix(): sha256(path) for path in files if path.is_file()}


@pytest.fixture
def shared(finished_project: CheapProject, tmp_path: Path) -> CheapProject:
    """A finished project whose drops, outputs and settings are committed and pushed to a folder."""
    shutil.copy(REPOSITORY / ".gitignore", finished_project.root)
    share(finished_project.root, tmp_path / "remote")
    keep(finished_project.root, "first")
    return finished_project


def clone(root: Path, place: Path) -> CheapProject:
    git(root, "clone", "--quiet", root, place)
    return CheapProject(place)


def test_a_clone_that_pulls_has_everything_and_runs_nothing(shared, tmp_path):
    other = clone(shared.root, tmp_path / "clone")
    assert not (other.root / "models").exists()
    call(other.root, "dvc", "pull", "-q")
    assert run(other).states == dict.fromkeys(NAMES, "cached")
    assert left_by(other.root) == left_by(shared.root)
    assert len(left_by(other.root)) == 5
    git(other.root, "diff", "--exit-code")


def test_an_older_revision_comes_back_whole_and_so_does_the_newer_one(shared):
    first = left_by(shared.root)
    shared.change("epochs: 3", "epochs: 4")
    (shared.root / "data/incoming/second.csv").write_text("2,1,5\n")
    run(shared)
    keep(shared.root, "second")  # the run has brought data/incoming.dvc up to date
    second = left_by(shared.root)
    for name, left in (("first", first), ("second", second)):
        git(shared.root, "checkout", "--quiet", name)
        call(shared.root, "dvc", "checkout", "-q")
        assert left_by(shared.root) == left
        assert run(shared).states == dict.fromkeys(NAMES, "cached")
        assert left_by(shared.root) == left
    assert first != second


@pytest.mark.slow
def test_an_older_revision_of_a_real_project_comes_back_and_can_be_computed_again_byte_for_byte(tmp_path):
    root = lay_down(tmp_path / "project")
    share(root, tmp_path / "remote")
    call(root, "trunkline", "run")
    keep(root, "first")
    first = left_by(root)
    call(root, "trunkline", "run", "--set", "training.learning_rate=0.003", "--set", "evaluation.draws=300")
    keep(root, "second")
    assert left_by(root)["reports/evaluation.json"] != first["reports/evaluation.json"]

    other = tmp_path / "clone"
    git(root, "clone", "--quiet", "--branch", "first", root, other)
    call(other, "dvc", "pull", "-q")
    assert left_by(other) == first
    assert " ran " not in call(other, "trunkline", "run")

    git(root, "checkout", "--quiet", "first")
    call(root, "dvc", "checkout", "-q")
    assert left_by(root) == first
    assert " ran " not in call(root, "trunkline", "run")
    call(root, "dvc", "repro", "-q", "--force", "--no-run-cache")
    assert left_by(root) == first
