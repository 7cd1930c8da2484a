"""What all tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from listener import Listener

# A shared machine makes single examples slow: time is no property of the code.
settings.register_profile("trunkline", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("trunkline")

REPOSITORY = Path(__file__).resolve().parent.parent
GLUE = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".ci/in-env.sh")


class CheapProject:
    """A whole project whose stages take no time; the folder cheap_project/ holds it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    def start(self, *words: str | Path, train: str = "") -> subprocess.Popen[str]:
        """Start a command in the project; `trunkline` and `dvc` are those of this Python.

        Args:
            words: The command.
            train: How stage `train` behaves, as cheap_stages.py has it.
        """
        words = (sys.executable, "-m", *words) if words[0] in ("trunkline", "dvc") else words
        environment = {**self.environment, "CHEAP_TRAIN": train}
        return subprocess.Popen(
            list(map(str, words)),
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *words: str | Path, train: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the project to its end."""
        with self.start(*words, train=train) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def change(self, old: str, new: str) -> None:
        """Replace a piece of params.yaml."""
        params = self.root / "params.yaml"
        assert old in params.read_text()
        params.write_text(params.read_text().replace(old, new))


@pytest.fixture
def cheap_project(tmp_path: Path) -> CheapProject:
    """A git and DVC project of its own, never run."""
    return make_cheap_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cheap project that has been run; to be copied."""
    project = make_cheap_project(tmp_path_factory.mktemp("finished") / "project")
    assert project.call("dvc", "repro", "-q").returncode == 0
    return project.root


@pytest.fixture
def finished_project(finished_once: Path, tmp_path: Path) -> CheapProject:
    """A cheap project in which everything is up to date."""
    shutil.copytree(finished_once, tmp_path / "project")
    return CheapProject(tmp_path / "project")


@pytest.fixture
def listener(request):
    """A web address of somebody who is to be told."""
    with Listener(getattr(request, "param", 200)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make_cheap_project(root: Path) -> CheapProject:
    """Lay a cheap project down at `root`."""
    for name in GLUE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    for path in (REPOSITORY / "tests" / "cheap_project").iterdir():
        shutil.copy(path, root / path.name)
    (root / "data" / "incoming").mkdir(parents=True)
    (root / "data" / "incoming" / "first.csv").write_text("x,a,b\n1,0,1\n")
    (root / ".gitignore").write_text(".trunkline/\n/data\n/models\n__pycache__/\n")
    subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
    return CheapProject(root)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that sums are taken in one order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
