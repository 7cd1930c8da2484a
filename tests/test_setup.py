"""Setting up: once, again after an interruption or a change, never when all is well."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from conftest import REPOSITORY

LOCK = "pytest==9.2.0\ntorch==2.13.0\n"


def load_setup(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_venv", root / ".ci" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout that holds what the set-up reads."""
    root = tmp_path / "checkout"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(REPOSITORY / ".ci" / "setup.py", root / ".ci")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "requirements.lock").write_text(LOCK)
    return root


@pytest.fixture
def steps(monkeypatch, root: Path):
    """The steps of a set-up in which making an environment is real and what pip does is only noted."""
    setup = load_setup(root)
    noted: list[list[str]] = []
    fails: list[str] = []

    def run(self, what: str, command: list[str]) -> None:
        noted.append(command)
        if what in fails:
            raise setup.SetupError(what)
        if command[1:3] == ["-m", "venv"]:
            subprocess.run([*command, "--without-pip"], check=True)

    monkeypatch.setattr(setup.Environment, "run", run)
    monkeypatch.setattr(setup, "version_of", lambda python: version_without_pip(python))
    return setup, noted, fails


def version_without_pip(python: str) -> tuple[int, int] | None:
    try:
        done = subprocess.run([python, "-c", "import sys"], capture_output=True)
    except OSError:
        return None
    return None if done.returncode else sys.version_info[:2]


def installed(noted: list[list[str]]) -> list[str]:
    """Return what each step asked for, without pip's own options."""
    return [" ".join(command[command.index("off") + 1 :]) for command in noted if "off" in command]


def test_torch_comes_first_with_its_exact_pin_and_the_package_last_without_dependencies(steps, root):
    setup, noted, _ = steps
    setup.set_up(root)
    lock = root / "requirements.lock"
    assert installed(noted) == [
        f"torch==2.13.0 -c {lock}",
        f"-r {lock}",
        f"--no-deps --no-build-isolation -e {root}",
    ]
    assert not [word for command in noted for word in command if "index" in word or "http" in word]


def test_a_finished_set_up_is_left_alone(steps, root):
    setup, noted, _ = steps
    setup.set_up(root)
    noted.clear()
    setup.set_up(root)
    assert noted == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", ".ci/setup.py"])
def test_a_change_of_what_it_was_made_from_installs_again(steps, root, name):
    setup, noted, _ = steps
    setup.set_up(root)
    noted.clear()
    (root / name).write_text((root / name).read_text() + "\n")
    setup.set_up(root)
    assert len(installed(noted)) == 3
    assert len(noted) == 3  # the environment itself is kept


@pytest.mark.parametrize("step", ["environment", "torch", "other packages", "trunkline"])
def test_an_interrupted_set_up_is_finished_by_the_next_call(steps, root, step):
    setup, noted, fails = steps
    setup.set_up(root)
    (root / "requirements.lock").write_text(LOCK + "wheel==1.0\n")
    if step == "environment":
        shutil.rmtree(root / ".venv")
    fails.append(step)
    with pytest.raises(setup.SetupError):
        setup.set_up(root)
    assert not setup.Environment(root).is_ready()
    fails.clear()
    noted.clear()
    setup.set_up(root)
    assert len(installed(noted)) == 3
    assert setup.Environment(root).is_ready()


def test_an_environment_without_a_working_python_is_made_anew(steps, root):
    setup, noted, _ = steps
    setup.set_up(root)
    (root / ".venv/bin/python").unlink()
    noted.clear()
    setup.set_up(root)
    assert len(noted) == 4
    assert (root / ".venv/bin/python").exists()


def test_an_environment_that_was_moved_is_made_anew(steps, root, tmp_path):
    setup, noted, _ = steps
    setup.set_up(root)
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    noted.clear()
    setup.set_up(moved)
    assert len(noted) == 4


def test_a_failed_step_shows_the_end_of_its_log_and_how_to_go_on(root):
    setup = load_setup(root)
    environment = setup.Environment(root)
    command = [sys.executable, "-c", "[print('line', n) for n in range(100)]; raise SystemExit(1)"]
    with pytest.raises(setup.SetupError) as caught:
        environment.run("torch", command)
    said = str(caught.value)
    assert "line 99" in said and "line 80" in said and "line 79" not in said
    assert "Again: python3 .ci/setup.py" in said


def test_without_a_supported_python_the_message_says_which_are(root, monkeypatch):
    setup = load_setup(root)
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(setup.SetupError, match=r"needs Python 3\.11 to 3\.13"):
        setup.find_python()


def test_versions_outside_the_supported_ones_are_refused(root):
    setup = load_setup(root)
    assert [setup.is_supported((3, minor)) for minor in (10, 11, 12, 13, 14)] == [False, True, True, True, False]


def test_a_finished_set_up_costs_a_moment(root):
    setup = load_setup(root)
    environment = setup.Environment(root)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment.folder)], check=True)
    environment.stamp.write_text(environment.digest(sys.version_info[:2]))
    began = time.monotonic()
    done = subprocess.run([sys.executable, str(root / ".ci/setup.py")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 3  # 0.1 s seen on an idle machine
