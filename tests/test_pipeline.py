"""What happens to stages, locks and processes, whoever starts the pipeline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import CheapProject

from trunkline import errors
from trunkline.pipeline import Outcome, Work, run_pipeline
from trunkline.pipeline.failure import machine_fault
from trunkline.pipeline.plan import plan

NAMES = ["ingest", "train", "baseline@a", "baseline@b"]


class Watcher:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.lines: list[str] = []

    def on_stage(self, name: str, work: Work) -> None:
        self.outcomes.append(work(self.lines.append))

    @property
    def states(self) -> dict[str, str]:
        return {each.name: each.state for each in self.outcomes}


def run(project: CheapProject, only: str | None = None) -> Watcher:
    watcher = Watcher()
    run_pipeline(project.root, watcher.on_stage, only)
    return watcher


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


# --- what runs --------------------------------------------------------------------------------------------


def test_a_first_run_runs_every_stage_and_a_second_one_none(cheap_project):
    first = run(cheap_project)
    assert first.states == dict.fromkeys(NAMES, "ran")
    assert "epoch 1" in first.lines
    assert run(cheap_project).states == dict.fromkeys(NAMES, "cached")


def test_only_what_a_change_concerns_runs_again_and_a_change_taken_back_runs_nothing(finished_project):
    finished_project.change("epochs: 3", "epochs: 4")
    assert run(finished_project).states == dict.fromkeys(NAMES, "cached") | {"train": "ran"}
    finished_project.change("epochs: 4", "epochs: 3")
    assert run(finished_project).states["train"] == "cached"
    assert (finished_project.root / "models/shared/weights").read_text() == "epochs 3"


def test_one_stage_or_a_group_can_be_run_alone(finished_project):
    assert list(run(finished_project, "train").states) == ["train"]
    assert list(run(finished_project, "baseline").states) == ["baseline@a", "baseline@b"]
    with pytest.raises(errors.ParamsError, match="'trian' is no stage; did you mean 'train'"):
        run(finished_project, "trian")


def test_a_finished_run_leaves_its_times_outside_dvc(finished_project):
    run(finished_project)
    (record,) = (finished_project.root / ".trunkline/runs").iterdir()
    content = json.loads(record.read_text())
    assert [stage["name"] for stage in content["stages"]] == NAMES
    assert content["seconds"] >= sum(stage["seconds"] for stage in content["stages"])
    assert ".trunkline" not in (finished_project.root / "dvc.lock").read_text()


def test_a_bare_dvc_repro_outside_the_environment_runs_with_the_python_of_dvc(cheap_project):
    cheap_project.environment["PATH"] = "/usr/bin:/bin"
    done = cheap_project.call("dvc", "repro", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert run(cheap_project).states == dict.fromkeys(NAMES, "cached")


def test_a_machine_without_trunkline_is_answered_with_what_to_do(cheap_project):
    environment = {"PATH": "/usr/bin:/bin"}
    # A shell between, so that the Python of these tests is not taken for the one that runs DVC.
    words = ["sh", "-c", "sh -c 'sh .ci/in-env.sh python -V; exit $?'; exit $?"]
    done = subprocess.run(words, cwd=cheap_project.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 5
    assert "make setup" in done.stderr


# --- plans ------------------------------------------------------------------------------------------------


def reasons(project: CheapProject) -> dict[str, list[str]]:
    return {name: why for name, why in plan(project.root) if why}


def test_a_plan_says_why_each_stage_would_run_and_changes_nothing(cheap_project):
    assert reasons(cheap_project)["ingest"] == ["never run"]
    assert not (cheap_project.root / "dvc.lock").exists()


def test_a_plan_names_changed_params_files_and_stages(finished_project):
    assert reasons(finished_project) == {}
    finished_project.change("epochs: 3", "epochs: 4")
    assert reasons(finished_project) == {"train": ["params training.epochs 3 -> 4"]}
    (finished_project.root / "models/alone/b/weights").unlink()
    assert reasons(finished_project)["baseline@b"] == ["models/alone/b changed"]
    (finished_project.root / "data/incoming/second.csv").write_text("2,1,5\n")
    why = reasons(finished_project)
    assert why["ingest"] == ["data/incoming changed"]
    assert why["baseline@a"] == ["because ingest would run"]
    assert why["train"] == ["params training.epochs 3 -> 4", "because ingest would run"]


# --- failures ---------------------------------------------------------------------------------------------

FAILURES = {
    "fail:ParamsError": (2, "train: ParamsError was asked for"),
    "fail:DataError": (3, "train: DataError was asked for"),
    "fail:ArtifactError": (4, "train: ArtifactError was asked for"),
    "fail:EnvironmentFault": (5, "train: EnvironmentFault was asked for"),
    "fail:GateError": (6, "train: GateError was asked for"),
    "killed": (5, "signal 9"),
    "exit:7": (7, "exit code 7. Its last lines:\n  epoch 1"),
    "bug": (1, "a bug in trunkline (KeyError: 'of ours')"),
}


@pytest.mark.parametrize("behaviour", FAILURES)
def test_a_failed_stage_ends_the_run_with_its_code_and_message(finished_project, monkeypatch, behaviour):
    monkeypatch.setenv("CHEAP_TRAIN", behaviour)
    finished_project.change("epochs: 3", "epochs: 4")
    code, said = FAILURES[behaviour]
    watcher = Watcher()
    with pytest.raises(errors.TrunklineError) as caught:
        run_pipeline(finished_project.root, watcher.on_stage)
    assert caught.value.code == code
    assert said in str(caught.value)
    assert watcher.states == {"ingest": "cached", "train": "failed"}


def test_a_kill_that_a_shell_tells_as_128_plus_the_signal_is_still_a_kill(finished_project, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/sh")  # DVC's choice; where it is dash, dash stays and reports 137
    monkeypatch.setenv("CHEAP_TRAIN", "exit:137")
    finished_project.change("epochs: 3", "epochs: 4")
    with pytest.raises(errors.EnvironmentFault, match="signal 9"):
        run(finished_project)


def test_after_a_failure_the_next_run_starts_at_the_failed_stage(finished_project, monkeypatch):
    monkeypatch.setenv("CHEAP_TRAIN", "fail:GateError")
    finished_project.change("epochs: 3", "epochs: 4")
    with pytest.raises(errors.GateError):
        run(finished_project)
    monkeypatch.setenv("CHEAP_TRAIN", "")
    assert run(finished_project).states == dict.fromkeys(NAMES, "cached") | {"train": "ran"}
    assert not (finished_project.root / ".trunkline/last_failure.json").exists()


def test_under_a_bare_dvc_repro_the_stage_says_its_message_itself(finished_project):
    finished_project.change("epochs: 3", "epochs: 4")
    done = finished_project.call("dvc", "repro", "-q", train="fail:DataError")
    assert done.returncode == 255
    assert "train: DataError was asked for" in done.stderr
    left = json.loads((finished_project.root / ".trunkline/last_failure.json").read_text())
    assert left == {"stage": "train", "task": None, "code": 3, "message": "train: DataError was asked for"}


def test_a_bug_keeps_its_traceback_in_a_file_and_off_the_screen(finished_project):
    finished_project.change("epochs: 3", "epochs: 4")
    done = finished_project.call("trunkline", "run", train="bug")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "KeyError: 'of ours'" in (finished_project.root / ".trunkline/traceback.txt").read_text()


@pytest.mark.parametrize(
    "raised",
    [OSError(28, "No space left on device", "x"), PermissionError(13, "Permission denied", "x"), MemoryError()],
)
def test_a_full_disk_a_missing_permission_and_no_memory_are_the_machines_fault(raised):
    assert machine_fault(raised).code == 5
    assert machine_fault(RuntimeError("outer")) is None


def test_outside_a_project_the_way_in_is_said(tmp_path, cheap_project):
    with pytest.raises(errors.ParamsError, match=r"has no dvc\.yaml"):
        run_pipeline(tmp_path, Watcher().on_stage)
    (cheap_project.root / ".dvc").rename(tmp_path / "away")
    with pytest.raises(errors.ParamsError, match="run once: dvc init"):
        run_pipeline(cheap_project.root, Watcher().on_stage)


def test_a_damaged_lock_file_of_dvc_is_said_in_a_line(finished_project):
    (finished_project.root / "dvc.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(errors.ParamsError, match=r"dvc\.lock"):
        run(finished_project)


# --- one at a time ----------------------------------------------------------------------------------------


def start_slowly(project: CheapProject, *command: str) -> subprocess.Popen[str]:
    project.change("epochs: 3", "epochs: 4")
    process = project.start(*command, train="slow")
    until((project.root / ".trunkline/training").exists)
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


@pytest.mark.parametrize("first", [["trunkline", "run"], ["dvc", "repro", "-q"]])
def test_a_second_run_answers_75_at_once_and_names_the_first(finished_project, first):
    process = start_slowly(finished_project, *first)
    try:
        began = time.monotonic()
        second = finished_project.call("trunkline", "run")
        assert (second.returncode, second.stdout) == (75, "")
        assert time.monotonic() - began < 10  # 0.5 s on an idle machine
        (line,) = second.stderr.splitlines()
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert any(f"process {pid} " in line for pid in family)
    finally:
        end(process)


def test_a_bare_dvc_repro_beside_a_run_is_refused_and_harms_nothing(finished_project):
    process = start_slowly(finished_project, "trunkline", "run")
    try:
        other = finished_project.call("dvc", "repro", "-s", "ingest", "-f")
        assert other.returncode == 255
        assert "busy" in other.stderr
    finally:
        end(process)
    assert run(finished_project).states["train"] == "ran"


def test_the_lock_of_a_killed_run_holds_nobody_up(finished_project):
    process = start_slowly(finished_project, "trunkline", "run")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    until(lambda: not alive(children))
    assert run(finished_project).states["train"] == "ran"


# --- nothing stays behind ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "number", "code", "shell"),
    [
        (["trunkline", "run"], signal.SIGTERM, 143, "/bin/bash"),
        (["trunkline", "run"], signal.SIGINT, 130, "/bin/sh"),
        (["trunkline", "run"], signal.SIGKILL, -9, "/bin/sh"),
        (["dvc", "repro", "-q"], signal.SIGTERM, -15, "/bin/bash"),
        (["dvc", "repro", "-q"], signal.SIGTERM, -15, "/bin/sh"),
        (["dvc", "repro", "-q"], signal.SIGKILL, -9, "/bin/sh"),
    ],
)
def test_a_stage_ends_with_the_run_that_started_it(finished_project, command, number, code, shell):
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not on this machine")
    finished_project.environment["SHELL"] = shell
    process = start_slowly(finished_project, *command)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    until(lambda: not alive(children))
    assert not [path for path in finished_project.root.rglob("*.tmp") if ".dvc" not in path.parts]
    assert not (finished_project.root / "models/shared/weights").exists()


def test_a_run_goes_on_when_its_reader_has_gone(finished_project):
    with finished_project.start("trunkline", "run") as process:
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, "")
    assert run(finished_project).states == dict.fromkeys(NAMES, "cached")


def test_stages_find_the_running_python_first(finished_project):
    from trunkline.pipeline.environment import path_with_this_python

    assert path_with_this_python().split(os.pathsep)[0] == str(Path(sys.executable).parent)
