"""The pipeline as a Prefect flow: Prefect decides when and where it runs and shows it, DVC decides what runs.

    python flows/pipeline.py        runs it now, with a temporary Prefect server unless PREFECT_API_URL names one

Each stage is a task of its name that ends as Completed, Cached or Failed. A flow that the machine failed (full disk,
no memory) is tried again, with nothing kept from the failed pass; refused data or params never are. A run that ends
badly has a state named after its reason: BadParams, DataRefused, ArtifactAltered, MachineFault, PromiseBroken,
TimedOut; or Busy, where another run of the project is going.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from uuid import UUID

from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.family import end_undisturbed, leave_on_sigterm

HERE = Path(__file__).resolve().parent.parent
SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # where a program calls the flow
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # What a stage prints goes to Prefect's record of its task, not to the screen a second time.
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
}
be_quiet()
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
server = None
if "PREFECT_API_URL" not in os.environ:
    home = os.environ.setdefault("PREFECT_HOME", str(HERE / ".trunkline" / "prefect"))
    Path(home).mkdir(parents=True, exist_ok=True)
    if __name__ == "__main__":
        from temporary_server import TemporaryServer

        # Before Prefect is imported: it starts meanwhile, and is stopped after Prefect has sent its last word.
        leave_on_sigterm()
        server = TemporaryServer(Path(home))
        os.environ["PREFECT_API_URL"] = server.address

from prefect import flow, get_client, get_run_logger, tags, task  # noqa: E402 - it reads its settings when imported
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.exceptions import TerminationSignal  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Cancelled, Completed, Failed  # noqa: E402
from prefect.utilities.timeout import timeout  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parent))  # the files beside this one, however it was loaded

from flow_artifacts import Progress, show_decision, show_failure, show_results  # noqa: E402
from flow_notice import NAMES, TIMED_OUT, say, tell  # noqa: E402
from flow_remains import crash_killed_runs, noted  # noqa: E402

from trunkline.cli.app import say_why  # noqa: E402
from trunkline.cli.promotion import decision_lines  # noqa: E402
from trunkline.cli.screen import Screen, Silent, Viewer, real_stdout  # noqa: E402
from trunkline.errors import BusyError, EnvironmentFault, GateError, TrunklineError  # noqa: E402
from trunkline.files import sha256  # noqa: E402
from trunkline.pipeline import Outcome, Work, run_pipeline  # noqa: E402
from trunkline.pipeline.capture import Show  # noqa: E402
from trunkline.pipeline.failure import DEBUG, chain_of  # noqa: E402
from trunkline.pipeline.family import end_with_parent  # noqa: E402
from trunkline.pipeline.incoming import newest_drop  # noqa: E402
from trunkline.pipeline.release import release  # noqa: E402
from trunkline.project import PARAMS, load_project  # noqa: E402
from trunkline.registry.promote import Decision  # noqa: E402

KEPT = "Kept"  # state of a flow that left the model in service as it was
BY_SCHEDULE = "TRUNKLINE_SCHEDULE"
"""Environment variable: set where `trunkline schedule` started this process, which then ends with it."""

viewer: ContextVar[Viewer | None] = ContextVar("viewer", default=None)
"""Who looks on beside Prefect: a person who started the flow by hand."""


class OutOfTime(TimeoutError):
    """The run took longer than it may."""


@flow(name="trunkline", persist_result=False, on_failure=[tell], on_crashed=[tell])
def pipeline(
    root: str = ".",
    only: str | None = None,
    promote: bool = False,
    retries: int = 1,
    retry_delay_seconds: float = 10.0,
    timeout_hours: float = 24.0,
) -> State[Any]:
    """Bring every output up to date.

    Args:
        root: The project's folder; a relative one counts from the repository that this file lies in.
        only: Run this stage alone.
        promote: Afterwards publish the model, compare it with the one in service and put it there if it may be; the
            flow ends as Promoted or Kept.
        retries: How often to try again after a fault of the machine (exit code 5).
        retry_delay_seconds: Wait before the first of these; each further wait is twice as long.
        timeout_hours: Time for all of it. What has been trained until then is kept, and the next run goes on from it.
    """
    folder = HERE / root
    if BY_SCHEDULE in os.environ:
        end_with_parent()
    crash_killed_runs(folder)
    name, drop, labels = _name_this_run(folder)
    waits = [retry_delay_seconds * 2**n for n in range(retries)]
    with noted(folder, UUID(flow_run.id)), tags(*labels):
        state = _within(timeout_hours, lambda: _attempts(folder, drop, only, promote, waits))
    if BY_SCHEDULE in os.environ:
        say(f"{name}: {state.name}: {state.message}")
    return state


def _within(timeout_hours: float, work: Callable[[], State[Any]]) -> State[Any]:
    try:
        with timeout(timeout_hours * 3600, OutOfTime):
            return work()
    except OutOfTime:
        said = (
            f"the run took longer than its timeout_hours ({timeout_hours:g}); the next one goes on from its checkpoint"
        )
        return Failed(name=TIMED_OUT, message=said, data=EnvironmentFault(said))


def _attempts(folder: Path, drop: str, only: str | None, promote: bool, waits: list[float]) -> State[Any]:
    """Run the stages, and again with a fresh view of the files after a fault of the machine."""
    while True:
        try:
            run_pipeline(folder, lambda name, work: _as_task(name, drop, work), only)
            decision = release(folder) if promote and not only else None
        except TrunklineError as fault:
            if fault.code == EnvironmentFault.code and waits:
                _tell(f"{fault}\nTrying again in {waits[0]:g} s")
                time.sleep(waits.pop(0))
                continue
            show_failure(folder, fault)
            return _end(fault)
        show_results(folder, str(decision) if decision else None)
        return _decided(decision) if decision else Completed(message="up to date")


def _end(fault: TrunklineError) -> State[Any]:
    """Return the state of a run that a fault ended. That another run does the same work is no failure."""
    if fault.code == BusyError.code:
        return Cancelled(name=NAMES[fault.code], message=str(fault), data=fault)
    return Failed(name=NAMES.get(fault.code, "Failed"), message=str(fault), data=fault)


def _name_this_run(folder: Path) -> tuple[str, str, list[str]]:
    """Name the run after project, newest drop and day, and tag it with the project and what its params hash to.

    Returns:
        The name, the newest drop, and the tags.
    """
    try:
        project, params = load_project(folder).export.name, sha256(folder / PARAMS)[:8]
    except TrunklineError:  # said properly when the pipeline starts
        project, params = folder.resolve().name, "unreadable"
    drop, day = newest_drop(folder), flow_run.scheduled_start_time.strftime("%Y-%m-%d")
    name, labels = " ".join(filter(None, [project, drop, day])), [project, f"params:{params}"]
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), name=name, tags=sorted({*flow_run.tags, *labels}))
    return name, drop or day, labels


def _as_task(name: str, drop: str, work: Work) -> None:
    """Do a stage's work inside a Prefect task, in view of whoever looks on."""

    def observed(show: Show) -> Outcome:
        done: list[Outcome] = []

        @task(name=name, task_run_name=f"{name} {drop}", persist_result=False)
        def stage() -> State[Any]:
            log, progress = get_run_logger(), Progress(name)

            def heard(line: str) -> None:
                log.info(line)
                show(line)
                progress.hear(line)

            done.append(work(heard))
            return _state(done[0])

        stage(return_state=True)
        return done[0]

    looking_on = viewer.get()
    if looking_on:
        looking_on.on_stage(name, observed)
    else:
        observed(lambda line: None)


def _tell(text: str) -> None:
    get_run_logger().warning(text)
    if looking_on := viewer.get():
        looking_on.say(text)


def _state(outcome: Outcome) -> State[Any]:
    if outcome.error:
        return Failed(message=str(outcome.error))
    if outcome.state == "cached":
        return Completed(name="Cached", message="nothing it depends on has changed")
    return Completed(message=f"ran in {outcome.seconds:.1f} s")


def _decided(decision: Decision) -> State[Any]:
    """Return how a flow ends that decided on the model: that one is kept out is no failure of the flow."""
    show_decision(decision_lines(decision))
    return Completed(name="Promoted" if decision.promoted else KEPT, message=decision.why, data=decision)


def main(words: list[str]) -> int:
    """Run the flow now, in view of the user.

    Returns:
        The exit code, the same as that of `trunkline run`.
    """
    parser = argparse.ArgumentParser(description="Run the pipeline as a Prefect flow.", epilog="Example: make demo")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone")
    parser.add_argument("--promote", action="store_true", help="then put the model into service if it may be")
    parser.add_argument("--root", default=".", help="the project's folder; default: this repository")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    chosen = parser.parse_args(words)
    leave_on_sigterm()
    for runs in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(runs).propagate = False  # to Prefect's record, not to the screen: the screen tells it already
    root = (HERE / chosen.root).resolve()
    if server:
        server.wait()
    with real_stdout() as file:
        looking_on = Silent() if chosen.json else Screen(file)
        viewer.set(looking_on)
        state = pipeline(str(root), chosen.only, promote=chosen.promote, return_state=True)
        fault, decision = _fault_of(state), _decision_of(state)
        looking_on.end(root, fault, decision)
    kept = GateError.code if decision and not decision.promoted else 0
    return say_why(fault) if fault else kept


def _decision_of(state: State[Any]) -> Decision | None:
    found = state.result(raise_on_failure=False) if state.name in ("Promoted", KEPT) else None
    return found if isinstance(found, Decision) else None


def _fault_of(state: State[Any]) -> Exception | None:
    if state.is_completed():
        return None
    found = state.result(raise_on_failure=False)
    return found if isinstance(found, Exception) else RuntimeError(state.message or "the flow failed")


def _ended(error: BaseException) -> int:
    """Return the exit code for what came out of Prefect: a signal, or Prefect in trouble.

    A signal to the whole process group ends the temporary server too; Prefect then fails to report to it, and the
    signal is only what its error came from.
    """
    codes = {KeyboardInterrupt: 128 + signal.SIGINT, TerminationSignal: 128 + signal.SIGTERM}
    for cause in chain_of(error):
        if type(cause) in codes:
            return codes[type(cause)]
        if isinstance(cause, SystemExit) and isinstance(cause.code, int):
            return cause.code
    if not isinstance(error, Exception) or os.environ.get(DEBUG):
        raise error
    return say_why(EnvironmentFault(f"Prefect: {error}; `trunkline run` does the same work without it"))


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BaseException as error:
        code = _ended(error)
    finally:
        end_undisturbed()  # Prefect ends its temporary server when Python exits
    sys.exit(code)
