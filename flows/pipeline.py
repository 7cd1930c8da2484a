"""The pipeline as a Prefect flow: Prefect decides when and where it runs and shows it, DVC decides what runs.

    python flows/pipeline.py        runs it now, with a temporary Prefect server unless PREFECT_API_URL names one

Each stage is a task of its name that ends as Completed, Cached or Failed. A flow that the machine failed (full disk,
no memory) is tried again, with nothing kept from the failed pass; refused data or params never are.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.family import leave_on_sigterm

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

from prefect import flow, get_run_logger, task  # noqa: E402 - Prefect reads its settings when it is imported
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.exceptions import TerminationSignal  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from trunkline.cli.app import say_why  # noqa: E402
from trunkline.cli.promotion import decision_lines  # noqa: E402
from trunkline.cli.screen import Screen, Silent, Viewer, real_stdout  # noqa: E402
from trunkline.cli.verdict import HEADER, REPORT, read_evaluation, verdict_rows  # noqa: E402
from trunkline.errors import ArtifactError, DataError, EnvironmentFault, GateError, TrunklineError  # noqa: E402
from trunkline.files import read_json  # noqa: E402
from trunkline.pipeline import Outcome, Work, run_pipeline  # noqa: E402
from trunkline.pipeline.capture import Show  # noqa: E402
from trunkline.pipeline.failure import DEBUG, chain_of  # noqa: E402
from trunkline.pipeline.release import release  # noqa: E402
from trunkline.registry.promote import Decision  # noqa: E402

VALIDATION = Path("reports/validation.json")
KEPT = "Kept"  # state of a flow that left the model in service as it was

viewer: ContextVar[Viewer | None] = ContextVar("viewer", default=None)
"""Who looks on beside Prefect: a person who started the flow by hand."""


@flow(name="trunkline", persist_result=False)
def pipeline(
    root: str = ".",
    only: str | None = None,
    retries: int = 1,
    retry_delay_seconds: float = 10.0,
    promote: bool = False,
) -> State[Any]:
    """Bring every output up to date.

    Args:
        root: The project's folder; a relative one counts from the repository that this file lies in.
        only: Run this stage alone.
        retries: How often to try again after a fault of the machine (exit code 5).
        retry_delay_seconds: Wait before that.
        promote: Then put the model into service if it may be; the flow ends as Promoted or Kept.
    """
    folder, left = HERE / root, retries
    while True:
        try:
            run_pipeline(folder, _as_task, only)
            decision = release(folder) if promote else None
        except TrunklineError as fault:
            if fault.code == EnvironmentFault.code and left > 0:
                left -= 1
                _tell(f"{fault}\nTrying again in {retry_delay_seconds:g} s")
                time.sleep(retry_delay_seconds)
                continue
            _show_failure(folder, fault)
            return Failed(message=str(fault), data=fault)
        _show_results(folder)
        return _decided(decision) if decision else Completed(message="up to date")


def _as_task(name: str, work: Work) -> None:
    """Do a stage's work inside a Prefect task, in view of whoever looks on."""

    def observed(show: Show) -> Outcome:
        done: list[Outcome] = []

        @task(name=name, task_run_name=name, persist_result=False)
        def stage() -> State[Any]:
            log = get_run_logger()
            done.append(work(lambda line: _both(log, show, line)))
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


def _both(log: Any, show: Show, line: str) -> None:
    log.info(line)
    show(line)


def _state(outcome: Outcome) -> State[Any]:
    if outcome.error:
        return Failed(message=str(outcome.error))
    if outcome.state == "cached":
        return Completed(name="Cached", message="nothing it depends on has changed")
    return Completed(message=f"ran in {outcome.seconds:.1f} s")


def _show_results(folder: Path) -> None:
    """Put the verdicts and the report into Prefect's artifacts."""
    evaluation = read_evaluation(folder)
    if evaluation:
        lines = [HEADER, tuple("---" for _ in HEADER), *verdict_rows(evaluation)]
        create_markdown_artifact("\n".join(f"| {' | '.join(line)} |" for line in lines), key="verdicts")
    if (folder / REPORT).is_file():
        create_link_artifact((folder / REPORT).resolve().as_uri(), link_text="report.html", key="report")


def _decided(decision: Decision) -> State[Any]:
    """Put the decision on the model into Prefect's artifacts; a model that is kept out is no failure of the flow."""
    lines = decision_lines(decision)
    create_markdown_artifact("\n".join(["```", *lines, "```"]), key="promotion")
    return Completed(name="Promoted" if decision.promoted else KEPT, message=decision.why, data=decision)


def _show_failure(folder: Path, fault: TrunklineError) -> None:
    """Put the rules that refused the data into Prefect's artifacts."""
    if not isinstance(fault, DataError):
        return
    try:
        findings = read_json(folder / VALIDATION)["findings"]
    except (ArtifactError, KeyError, TypeError):
        return
    if findings:
        wanted = ("where", "column", "expected", "seen", "count")
        create_table_artifact([{word: each.get(word) for word in wanted} for each in findings], key="refused-data")


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
    if not state.is_failed() and not state.is_crashed():
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
        # Prefect ends its temporary server when Python exits; nothing may interrupt that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
