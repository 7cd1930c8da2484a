"""The Prefect flow: the same pipeline, shown by Prefect, tried again where that helps, gone when it is ended."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from conftest import REPOSITORY, CheapProject, make_cheap_project
from published import RIGHT, WRONG, make_project, write_export
from ruamel.yaml import YAML
from test_pipeline import NAMES, Watcher, alive, until

from trunkline.files import write_json
from trunkline.pipeline import run_pipeline
from trunkline.pipeline.lock import hold

# Prefect's own deprecations concern its authors.
pytestmark = pytest.mark.filterwarnings("default")

FLOW = REPOSITORY / "flows" / "pipeline.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Prefect server with all its services; the temporary one of a flow has no scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    home = tmp_path_factory.mktemp("prefect")
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_UI_ENABLED": "false", "DO_NOT_TRACK": "1"}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    words = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", port]
    with subprocess.Popen([sys.executable, *words, "--log-level", "error"], env=environment) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/api/health"), 120)
            yield f"http://127.0.0.1:{port}/api"
        finally:
            process.kill()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def flows(server, tmp_path_factory):
    """The module of the flow, imported as a deployment imports it."""
    before = dict(os.environ)
    os.environ |= {"PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path_factory.mktemp("client"))}
    try:
        spec = importlib.util.spec_from_file_location("flow_of_trunkline", FLOW)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_flow(flows: ModuleType, project: CheapProject, **settings: object):
    return flows.pipeline(str(project.root), retry_delay_seconds=0, return_state=True, **settings)


def runs_of(state) -> list[tuple[str, str]]:
    """Return stage and state of each task of a flow run, in the order in which they ended."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import TaskRunSort

    wanted = FlowRunFilter(id={"any_": [state.state_details.flow_run_id]})
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=wanted, sort=TaskRunSort.END_TIME_DESC)
    assert {run.name.split()[1] for run in found} == {"first"}  # the newest drop
    return [(run.name.split()[0], run.state_name) for run in reversed(found)]


def read_run(state):
    from prefect import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def artifact(key: str):
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.request(
            "POST",
            "/artifacts/filter",
            json={"artifacts": ArtifactFilter(key=ArtifactFilterKey(any_=[key])).model_dump(mode="json")},
        ).json()
    return found[-1]["data"] if found else None


def test_each_stage_is_a_task_of_its_name_that_ends_as_completed_or_cached(flows, finished_project):
    finished_project.change("epochs: 3", "epochs: 4")
    first = run_flow(flows, finished_project)
    assert first.is_completed()
    assert sorted(runs_of(first)) == sorted({**dict.fromkeys(NAMES, "Cached"), "train": "Completed"}.items())
    assert sorted(runs_of(run_flow(flows, finished_project))) == sorted(dict.fromkeys(NAMES, "Cached").items())
    told = read_run(first)
    assert re.fullmatch(r"model first \d{4}-\d\d-\d\d", told.name)
    assert {tag[:7] for tag in told.tags} == {"model", "params:"}


def test_results_become_artifacts(flows, finished_project):
    task = {
        "primary": "r2",
        "shared": {"r2": 0.5},
        "alone": {"r2": 0.4},
        "transfer": {"gain": 0.1, "verdict": "helped"},
    }
    write_json(finished_project.root / "reports/evaluation.json", {"tasks": {"b": task}, "deployable": True})
    (finished_project.root / "reports/report.html").write_text("report")
    assert run_flow(flows, finished_project).is_completed()
    assert "| b | r2 | 0.4 | 0.5 | +0.1 | - | helped |" in artifact("verdicts")
    assert json.loads(artifact("tasks")) == [{"task": "b", "kind": None, "failed gates": "none"}]
    assert "report.html" in artifact("report")


def test_a_flow_that_promotes_ends_as_promoted_or_as_kept_with_the_reason(flows, finished_project):
    root = finished_project.root
    make_project(root / "other")
    shutil.copytree(root / "other/data/split", root / "data/split")
    write_export(root, RIGHT)
    first = run_flow(flows, finished_project, promote=True)
    assert (first.name, first.is_completed()) == ("Promoted", True)
    assert "In service: version 1 of model" in artifact("promotion")
    write_export(root, WRONG)
    second = run_flow(flows, finished_project, promote=True)
    assert (second.name, second.is_completed()) == ("Kept", True)
    assert second.message.startswith("version 1 stays in service: ")
    assert flows._decision_of(second).champion == 1


def test_the_epochs_of_a_stage_are_shown_as_progress(flows, finished_project):
    stages = finished_project.root / "cheap_stages.py"
    stages.write_text(stages.read_text().replace('"epoch 1"', '"epoch 1/4  composite +0.1\\nepoch 3/4"'))
    finished_project.change("epochs: 3", "epochs: 4")
    assert run_flow(flows, finished_project).is_completed()
    assert artifact("progress-train") == 75.0


def test_refused_data_fails_the_flow_at_once_with_the_rules_that_refused_it(flows, finished_project, monkeypatch):
    finding = {"where": "june.csv", "column": "x", "expected": "at most 10", "seen": "11", "count": 3, "examples": []}
    write_json(finished_project.root / "reports/validation.json", {"findings": [finding]})
    finished_project.change("epochs: 3", "epochs: 4")
    monkeypatch.setenv("CHEAP_TRAIN", "fail:DataError")
    state = run_flow(flows, finished_project, retries=3)
    assert state.is_failed()
    assert state.message == "train: DataError was asked for"
    assert runs_of(state) == [("ingest", "Cached"), ("train", "Failed")]
    assert json.loads(artifact("refused-data"))[0]["column"] == "x"


def test_a_fault_of_the_machine_is_tried_again_with_a_fresh_view_of_the_files(flows, finished_project, monkeypatch):
    finished_project.change("epochs: 3", "epochs: 4")
    monkeypatch.setenv("CHEAP_TRAIN", "fail:EnvironmentFault")
    state = run_flow(flows, finished_project, retries=1)
    assert state.is_failed()
    # Had the second pass known the first one's stages, DVC would have restored the old output and called it done.
    assert runs_of(state) == [("ingest", "Cached"), ("train", "Failed")] * 2
    monkeypatch.setenv("CHEAP_TRAIN", "")
    assert run_flow(flows, finished_project).is_completed()
    assert (finished_project.root / "models/shared/weights").read_text() == "epochs 4"


def test_a_run_beside_another_one_is_called_busy_and_neither_failed_nor_tried_again(flows, finished_project):
    with hold(finished_project.root):
        state = run_flow(flows, finished_project, retries=3)
    assert (state.name, state.is_failed()) == ("Busy", False)
    assert "kill" in state.message
    assert read_run(state).run_count == 1
    assert not (finished_project.root / ".trunkline/runs").exists()


def test_a_run_that_takes_too_long_is_ended_with_its_stage(flows, finished_project, monkeypatch):
    finished_project.change("epochs: 3", "epochs: 4")
    monkeypatch.setenv("CHEAP_TRAIN", "slow")
    state = run_flow(flows, finished_project, timeout_hours=2.5 / 3600)
    assert (state.is_failed(), state.name) == (True, "TimedOut")
    until(lambda: not alive(psutil.Process().children(recursive=True)[1:]))  # the first is Prefect's server


def test_a_run_whose_process_was_killed_is_marked_as_crashed_by_the_next(flows, finished_project):
    from prefect import get_client
    from prefect.states import Running

    with get_client(sync_client=True) as client:
        killed = client.create_flow_run(flows.pipeline, state=Running())
    write_json(finished_project.root / f".trunkline/flows/{killed.id}.json", {"pid": os.getpid(), "started": 1.0})
    assert run_flow(flows, finished_project).is_completed()
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(killed.id).state.is_crashed()
    assert not [*(finished_project.root / ".trunkline/flows").iterdir()]


@pytest.mark.parametrize("listener", [500], indirect=True)
def test_a_failure_is_told_to_a_webhook_and_a_block_and_stays_what_it_is(
    flows, finished_project, listener, monkeypatch
):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    body = {"subject": "{{subject}}", "body": "{{body}}"}
    block = CustomWebhookNotificationBlock(name="test", url=listener.address, json_data=body, allow_private_urls=True)
    block.save("ops", overwrite=True)
    finished_project.change("epochs: 3", "epochs: 4")
    params = finished_project.root / "params.yaml"
    params.write_text(f"{params.read_text()}notify: {{webhook: '{listener.address}'}}\n")
    monkeypatch.setenv("TRUNKLINE_BLOCK", "custom-webhook/ops")
    monkeypatch.setenv("CHEAP_TRAIN", "fail:GateError")
    state = run_flow(flows, finished_project)
    assert (state.name, state.message) == ("PromiseBroken", "train: GateError was asked for")
    webhook, mail = listener.heard
    assert (webhook["project"], webhook["stage"], webhook["code"]) == ("model", "train", 6)
    assert webhook["message"] == "train: GateError was asked for"
    assert mail == {"subject": "model: train failed (exit code 6)", "body": "train: GateError was asked for"}


def test_the_deployments_of_prefect_yaml_can_be_loaded_and_take_their_parameters(flows):
    from prefect.flows import load_flow_from_entrypoint

    declared = YAML(typ="safe").load(REPOSITORY / "prefect.yaml")
    assert {each["name"] for each in declared["deployments"]} == {"monthly", "watch"}
    for each in declared["deployments"]:
        found = load_flow_from_entrypoint(str(REPOSITORY / each["entrypoint"]))
        assert found.validate_parameters(each["parameters"])
        assert each["concurrency_limit"]["limit"] == 1


def test_the_watching_flow_runs_the_pipeline_once_for_what_has_landed(flows, finished_project):
    from prefect.flows import load_flow_from_entrypoint

    watch = load_flow_from_entrypoint(f"{REPOSITORY}/flows/watch.py:watch")
    root = str(finished_project.root)
    assert watch(root, settle_seconds=0, return_state=True).message == "first.csv: up to date"
    assert watch(root, settle_seconds=0, return_state=True).name == "NothingNew"


def test_all_three_ways_leave_the_same_lock_the_same_files_and_the_same_cache(flows, cheap_project, tmp_path):
    by_dvc, by_run, by_flow = cheap_project, *(make_cheap_project(tmp_path / way) for way in ("run", "flow"))
    assert by_dvc.call("dvc", "repro", "-q").returncode == 0
    run_pipeline(by_run.root, Watcher().on_stage)
    assert run_flow(flows, by_flow).is_completed()
    for other in (by_run.root, by_flow.root):
        for kept in ("dvc.lock", "data", "models", ".dvc/cache"):
            assert contents(by_dvc.root / kept) == contents(other / kept)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    # DVC's record of past runs is named by hashes of its own, over the same entries.
    return {str(each.relative_to(path)): each.read_bytes() for each in files if "runs" not in each.parts}


def test_a_schedule_creates_runs(flows):
    # With SQLAlchemy 2.1 flows run by hand work, pip finds no conflict, and no scheduled run is ever created.
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter

    deployed = flows.pipeline.to_deployment("every 20 seconds", interval=20).apply()
    wanted = DeploymentFilter(id={"any_": [deployed]})
    scheduled = FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}})
    with get_client(sync_client=True) as client:
        until(lambda: client.read_flow_runs(deployment_filter=wanted, flow_run_filter=scheduled), 90)


# --- started by hand --------------------------------------------------------------------------------------


def start(project: CheapProject, train: str, **environment: str):
    """Start the flow by hand; without PREFECT_API_URL it brings a temporary server with it."""
    project.environment.pop("PREFECT_API_URL", None)
    project.environment |= environment
    project.change("epochs: 3", "epochs: 4")
    return project.start(sys.executable, FLOW, "--root", project.root, train=train)


def test_by_hand_the_flow_shows_the_run_and_ends_with_the_code_of_the_stage(flows, finished_project):
    from prefect.settings import PREFECT_API_URL

    with start(finished_project, "fail:GateError", PREFECT_API_URL=PREFECT_API_URL.value()) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 6
    assert err == "train: GateError was asked for\n"
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ingest", "cached"],
        ["epoch", "1"],
        ["train", "failed"],
    ]


@pytest.mark.parametrize(
    ("number", "code", "to_group"),
    [
        (signal.SIGTERM, 143, False),
        pytest.param(signal.SIGINT, 130, True, marks=pytest.mark.slow),  # Ctrl-C in a terminal
        pytest.param(signal.SIGKILL, -9, False, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_flow_its_stage_and_its_server(finished_project, tmp_path, number, code, to_group):
    process = start(finished_project, "slow", PREFECT_HOME=str(tmp_path / "prefect"))
    until((finished_project.root / ".trunkline/training").exists, 120)
    family = psutil.Process(process.pid).children(recursive=True)
    assert {"temporary_server.py", "cheap_stages.py"} <= {Path(word).name for each in family for word in each.cmdline()}
    (os.killpg if to_group else os.kill)(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == code
    until(lambda: not alive(family))
    assert not [path for path in finished_project.root.rglob("*.tmp") if ".dvc" not in path.parts]


@pytest.mark.slow
def test_the_temporary_server_is_gone_at_the_end_of_the_flow(finished_project, tmp_path):
    family: set[psutil.Process] = set()
    with start(finished_project, "", PREFECT_HOME=str(tmp_path / "prefect")) as process:
        watched = psutil.Process(process.pid)
        until(lambda: family.update(watched.children(recursive=True)) or process.poll() is not None, 120)
        assert (process.returncode, process.stderr.read()) == (0, "")
    assert family
    until(lambda: not alive([*family]))
