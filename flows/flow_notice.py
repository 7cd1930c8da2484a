"""Tells somebody when a run of the flow fails: a web address, or a Prefect block for mail or chat.

Nobody is told unless the project or the environment names one. That the message could not be sent is said in the log;
the run's own failure stays what it is.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from prefect import Flow, get_client
from prefect.blocks.core import Block
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import TaskRunSort
from prefect.logging import get_logger

from trunkline.cli.verdict import REPORT
from trunkline.errors import EnvironmentFault, TrunklineError
from trunkline.notify import Notice, Notify, post
from trunkline.pipeline.failure import BUG
from trunkline.project import Project, load_project

HERE = Path(__file__).resolve().parent.parent
NAMES = {
    2: "BadParams",
    3: "DataRefused",
    4: "ArtifactAltered",
    5: "MachineFault",
    6: "PromiseBroken",
    75: "Busy",
}
"""Exit code of a fault: the name of the state in which its run ends."""
TIMED_OUT = "TimedOut"
REFUSALS = (2, 3, 4, 6)
"""Exit codes that the same files would meet again."""
REPORTS = {3: Path("reports/validation.html")}


def say(text: str) -> None:
    """Print a line with the time, for the journal of a schedule."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}", flush=True)


def code_of(state: State[Any]) -> int:
    """Return the exit code that the end of a run stands for: 0, its fault's, or 5 for a process that was killed."""
    if state.is_completed():
        return 0
    if state.is_crashed() or state.name == TIMED_OUT:
        return EnvironmentFault.code
    return next((code for code, name in NAMES.items() if name == state.name), BUG)


def answer_of(state: State[Any]) -> Literal["done", "refused", "unsettled"]:
    """Return what the end of a run says of the drops it was asked for."""
    if state.is_completed():
        return "done"
    return "refused" if code_of(state) in REFUSALS else "unsettled"


def tell(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whoever the project names that `flow_run` has failed; a hook for on_failure and on_crashed."""
    log = get_logger("trunkline")
    root = HERE / flow_run.parameters.get("root", ".")
    project = _project(root)
    chosen = (project.notify if project else Notify()).with_environment()
    if not (chosen.webhook or chosen.block):
        return
    notice = _notice(root, project, flow_run, state)
    try:
        if chosen.webhook:
            post(chosen.webhook, notice)
    except OSError as fault:
        log.warning("The webhook was not told of the failure: %s", fault)
    try:
        if chosen.block:
            _send(chosen.block, notice)
    except Exception as fault:  # whatever a block of somebody else may raise
        log.warning("Prefect's block %s did not tell of the failure: %s", chosen.block, fault)


def _project(root: Path) -> Project | None:
    try:
        return load_project(root)
    except TrunklineError:
        return None


def _notice(root: Path, project: Project | None, flow_run: FlowRun, state: State[Any]) -> Notice:
    code = code_of(state)
    report = root / REPORTS.get(code, REPORT)
    return Notice(
        project=project.export.name if project else root.resolve().name,
        stage=_stage(flow_run),
        code=code,
        message=state.message or state.name or "failed",
        report=str(report.resolve()) if report.is_file() else None,
        run=flow_run.name,
    )


def _stage(flow_run: FlowRun) -> str | None:
    """Return the stage that did not end well, None where there is none or the server is silent."""
    wanted = FlowRunFilter.model_validate({"id": {"any_": [flow_run.id]}})
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(flow_run_filter=wanted, sort=TaskRunSort.EXPECTED_START_TIME_ASC)
    except Exception as fault:  # the server may be what failed
        get_logger("trunkline").warning("Prefect does not say which stage failed: %s", fault)
        return None
    bad = [run for run in runs if run.state is not None and not run.state.is_completed()]
    return bad[-1].name.split()[0] if bad else None


def _send(name: str, notice: Notice) -> None:
    block: Any = Block.load(name)
    lines = [notice.message, *([f"report  {notice.report}"] if notice.report else [])]
    block.notify("\n".join(lines), notice.subject)
