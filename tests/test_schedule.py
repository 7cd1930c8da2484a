"""Retraining by the clock and by what lands in data/incoming/: runs begin when they should, nothing stays behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from conftest import REPOSITORY, CheapProject, make_cheap_project
from test_flow import contents
from test_pipeline import Watcher, alive, until

from trunkline.notify import Notice, Notify, post
from trunkline.pipeline import run_pipeline
from trunkline.pipeline.incoming import Watch, newest_drop
from trunkline.pipeline.lock import hold
from trunkline.project import load_project

# --- what lands -------------------------------------------------------------------------------------------


def drop(project: CheapProject, name: str, text: str = "2,1,3\n") -> Path:
    path = project.root / "data/incoming" / name
    path.write_text(text)
    return path


def watch_of(project: CheapProject, settle: float = 0.0, again: float = 600.0) -> Watch:
    return Watch(project.root, settle, again)


def test_a_drop_starts_one_run_also_across_a_restart(cheap_project):
    watch = watch_of(cheap_project)
    assert watch.look() == ["first.csv"]
    watch.answer("done")
    assert watch.look() == []
    assert watch_of(cheap_project).look() == []
    drop(cheap_project, "second.csv")
    assert watch_of(cheap_project).look() == ["second.csv"]


def test_a_refused_drop_is_left_alone_until_a_file_changes(cheap_project):
    watch = watch_of(cheap_project)
    watch.look()
    watch.answer("refused")
    assert watch.look() == watch_of(cheap_project).look() == []
    drop(cheap_project, "first.csv", "repaired")
    assert watch.look() == ["first.csv"]


def test_a_drop_that_is_taken_away_again_is_a_change(cheap_project):
    bad, watch = drop(cheap_project, "second.csv"), watch_of(cheap_project)
    watch.look()
    watch.answer("refused")
    bad.unlink()
    assert watch.look() == ["second.csv"]


def test_the_same_drops_are_tried_again_later_when_the_machine_or_another_run_was_in_the_way(cheap_project):
    watch = watch_of(cheap_project)
    watch.look()
    watch.answer("unsettled")
    assert watch.look() == []
    assert not watch.waiting
    patient = watch_of(cheap_project, again=0.0)
    patient.look()
    patient.answer("unsettled")
    assert patient.look() == ["first.csv"]


def test_a_file_that_still_grows_is_waited_for(cheap_project):
    watch = watch_of(cheap_project, settle=0.3)
    for size in range(5):
        drop(cheap_project, "second.csv", "x" * size)
        assert watch.look() == []
        assert watch.waiting
    until(lambda: watch.look() == ["first.csv", "second.csv"], 5)


@pytest.mark.parametrize("name", [".second.csv.Xy1", "second.csv.tmp", "second.csv.part", "README.md"])
def test_a_file_under_a_temporary_name_is_no_drop_until_it_is_renamed(cheap_project, name):
    watch = watch_of(cheap_project)
    watch.look()
    watch.answer("done")
    unfinished = drop(cheap_project, name)
    assert watch.look() == []
    assert newest_drop(cheap_project.root) == "first"
    unfinished.rename(unfinished.with_name("second.csv"))
    assert watch.look() == ["second.csv"]
    assert newest_drop(cheap_project.root) == "second"


def test_an_empty_folder_starts_nothing(cheap_project):
    shutil.rmtree(cheap_project.root / "data/incoming")
    assert watch_of(cheap_project).look() == []
    assert newest_drop(cheap_project.root) == ""


def test_a_drop_beside_a_dvc_file_is_versioned_by_the_run(finished_project):
    (finished_project.root / ".gitignore").write_text(".trunkline/\n/data/raw\n/models\n__pycache__/\n")
    assert finished_project.call("dvc", "add", "-q", "data/incoming").returncode == 0
    versioned = finished_project.root / "data/incoming.dvc"
    assert "nfiles: 1" in versioned.read_text()
    drop(finished_project, "second.csv")
    run_pipeline(finished_project.root, Watcher().on_stage)
    assert "nfiles: 2" in versioned.read_text()


# --- who is told ------------------------------------------------------------------------------------------


NOTICE = Notice("flights", "train", 5, "disk full", None, "flights 2013-12")


def test_a_webhook_gets_one_json_object(listener):
    post(listener.address, NOTICE)
    text = "flights: train failed (exit code 5)\ndisk full"
    assert listener.heard == [{**NOTICE._asdict(), "text": text}]


@pytest.mark.parametrize("listener", [500], indirect=True)
def test_a_webhook_that_answers_with_an_error_or_not_at_all_is_an_os_error(listener):
    for address in (listener.address, "http://127.0.0.1:1/hook"):
        with pytest.raises(OSError, match=r"500|refused"):
            post(address, NOTICE)


def test_nobody_is_told_by_default_and_the_environment_wins(monkeypatch):
    asked = load_project(REPOSITORY).notify
    assert asked.with_environment() == Notify(webhook=None, block=None)
    monkeypatch.setenv("TRUNKLINE_WEBHOOK", "https://host/secret")
    assert Notify(webhook="http://params").with_environment().webhook == "https://host/secret"


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def scheduled(cheap_project):
    """A cheap project that holds the flows; what a test that failed left running ends with it."""
    yield with_flows(cheap_project)
    for one in psutil.process_iter(["cmdline"]):
        if any(str(cheap_project.root) in word for word in one.info["cmdline"] or ()):
            one.kill()


def with_flows(project: CheapProject) -> CheapProject:
    shutil.copytree(REPOSITORY / "flows", project.root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    project.environment.pop("PREFECT_API_URL", None)
    project.environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_HOME": str(project.root / ".trunkline/p")}
    return project


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say when"),
        (["--cron", "0 3 1 * *", "--every", "60"], "exclude each other"),
        (["--watch", "--timezone", "UTC"], "belongs to --cron"),
        (["--watch"], "flows/schedule.py: not found"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(cheap_project, words, said):
    done = cheap_project.call("trunkline", "schedule", *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--cron", "at noon"], "is no cron line"), (["--cron", "0 3 * * *", "--timezone", "Mars"], "is no time zone")],
)
def test_what_is_no_cron_line_or_no_time_zone_is_refused_in_a_line_before_anything_starts(scheduled, words, said):
    with hold(scheduled.root, Path(".trunkline/schedule.lock")):  # a second schedule would be refused
        done = scheduled.call("trunkline", "schedule", *words, "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"--.*{said}.*\n", done.stderr)
    assert not list(scheduled.root.rglob("server.log"))


class Service:
    """A schedule that is running, seen through its dashboard's address."""

    def __init__(self, project: CheapProject, *words: str, train: str = "") -> None:
        self.project = project
        self.process = project.start("trunkline", "schedule", *words, "--port", "0", train=train)
        self.family: set[psutil.Process] = set()
        self.said: list[str] = []
        line = self.read_until("dashboard")
        self.api = f"{line.split()[-1]}/api"

    def read_until(self, word: str) -> str:
        for line in self.process.stdout:
            self.said.append(line)
            if word in line:
                return line
        raise AssertionError(f"ended without {word}: {self.said} {self.process.stderr.read()}")

    def runs(self, *states: str) -> list[dict[str, object]]:
        body = {"flow_runs": {"state": {"type": {"any_": [*states]}}}, "sort": "EXPECTED_START_TIME_ASC"}
        request = urllib.request.Request(
            f"{self.api}/flow_runs/filter", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            self.family |= {*psutil.Process(self.process.pid).children(recursive=True)}
            return json.load(answer)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; give its exit code and what it said on stderr, when all it started is gone."""
        self.family |= {*psutil.Process(self.process.pid).children(recursive=True)}
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        until(lambda: not alive([*self.family]), 30)
        return self.process.returncode, err


@pytest.mark.slow
def test_a_scheduled_run_happens_by_itself_and_leaves_what_dvc_repro_leaves(scheduled, tmp_path):
    by_dvc = make_cheap_project(tmp_path / "dvc")
    assert by_dvc.call("dvc", "repro", "-q").returncode == 0
    service = Service(scheduled, "--every", "5")
    service.read_until("next run")
    until(lambda: len(service.runs("COMPLETED")) >= 2, 90)
    first = service.runs("COMPLETED")[0]
    assert first["auto_scheduled"]
    assert first["name"].startswith("model first ")
    assert {"model", "schedule"} < {*first["tags"]}
    assert service.end() == (0, "")
    for kept in ("dvc.lock", "data", "models", ".dvc/cache"):
        assert contents(by_dvc.root / kept) == contents(scheduled.root / kept)
    time.sleep(5)  # a run is missed
    again = Service(scheduled, "--cron", "0 3 1 1 *")
    until(lambda: any("missed" in run["tags"] for run in again.runs("COMPLETED")), 60)
    assert again.end() == (0, "")


@pytest.mark.slow
def test_a_drop_is_run_when_it_has_landed_and_a_refused_one_only_once(scheduled):
    service = Service(scheduled, "--watch", "--settle", "0.5", train="fail:DataError")
    until(lambda: service.runs("FAILED"), 60)
    until((scheduled.root / ".trunkline/watch.json").exists, 10)
    assert json.loads((scheduled.root / ".trunkline/watch.json").read_text())["outcome"] == "refused"
    assert [run["state_name"] for run in service.runs("FAILED")] == ["DataRefused"]
    drop(scheduled, "second.csv.part").rename(scheduled.root / "data/incoming/second.csv")
    until(lambda: len(service.runs("FAILED")) == 2, 60)
    assert service.runs("FAILED")[1]["name"].split()[1] == "second"
    assert service.end() == (0, "")


@pytest.mark.slow
def test_one_run_now_ends_with_the_code_of_its_stage_and_a_second_schedule_is_refused(scheduled):
    service = Service(scheduled, "--once", train="slow")
    until((scheduled.root / ".trunkline/training").exists, 60)
    second = scheduled.call("trunkline", "schedule", "--watch", "--port", "0")
    assert (second.returncode, "is busy" in second.stderr) == (75, True)
    assert service.end() == (143, "")
    failed = scheduled.call("trunkline", "schedule", "--once", "--port", "0", train="fail:GateError")
    assert (failed.returncode, failed.stderr) == (6, "")
    assert failed.stdout.endswith(": PromiseBroken: train: GateError was asked for\n")


@pytest.mark.slow
def test_a_run_whose_schedule_was_killed_is_gone_and_marked_as_crashed_at_the_next_start(scheduled):
    service = Service(scheduled, "--every", "3600", "--watch", "--settle", "0", train="slow")
    until((scheduled.root / ".trunkline/training").exists, 60)
    assert len(service.runs("RUNNING")) == 1
    service.end(signal.SIGKILL)
    again = Service(scheduled, "--every", "3600")
    until(lambda: again.runs("CRASHED"), 30)
    assert not again.runs("RUNNING")
    assert again.end() == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("told_too", [False, True])
def test_a_schedule_whose_server_is_gone_ends_though_a_run_is_going_on(scheduled, told_too):
    """Whether or not it is told to end in the same moment, as `pkill` would do."""
    service = Service(scheduled, "--every", "3600", "--watch", "--settle", "0", train="slow")
    until((scheduled.root / ".trunkline/training").exists, 60)
    service.runs("RUNNING")
    server = next(one for one in service.family if any("temporary_server" in word for word in one.cmdline()))
    server.kill()
    if told_too:
        service.process.terminate()
    _, err = service.process.communicate(timeout=60)
    assert service.process.returncode in ((0, 5) if told_too else (5,))
    assert "Traceback" not in err
    until(lambda: not alive([*service.family]), 30)
