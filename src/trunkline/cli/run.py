"""`trunkline run`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flow_file import become, find_flow
from trunkline.cli.project_folder import find_project
from trunkline.errors import GateError, ParamsError, TrunklineError

if TYPE_CHECKING:
    from trunkline.registry.promote import Decision

FLOW = Path("flows/pipeline.py")


def run(
    only: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Run this stage alone, on whatever the stages before it left."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change params.yaml first, such as training.epochs=5."),
    ] = None,
    prefect: Annotated[bool, typer.Option("--prefect", help="Run the Prefect flow instead.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Then put the model into service if it may be; exit code 6 if not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Bring every output up to date: what has not changed is not run again."""
    from trunkline.pipeline.lock import hold

    if only and promote:
        raise ParamsError("run: --only runs one stage and --promote needs all of them; leave one out")
    root = find_project()
    if changes:
        from trunkline.cli.settings import change_settings

        with hold(root):
            lines = change_settings(root, changes)
        print(*lines, sep="\n", file=sys.stderr if as_json else sys.stdout, flush=True)
    if prefect:
        _become_flow(root, only, promote, as_json)
    return run_and_show(root, only, as_json, promote=promote)


def _become_flow(root: Path, only: str | None, promote: bool, as_json: bool) -> None:
    flow = find_flow(root, FLOW, "take it from trunkline's repository, or run without --prefect")
    options = [
        *(["--only", only] if only else []),
        *(["--promote"] if promote else []),
        *(["--json"] if as_json else []),
    ]
    become(flow, *options)


def run_and_show(root: Path, only: str | None, as_json: bool, *, promote: bool = False) -> int:
    """Run the pipeline in view of the user, and where that is asked for, put the model into service.

    Returns:
        The exit code 0, or 6 where the model was kept out of service.

    Raises:
        TrunklineError: What the failed stage said.
    """
    from trunkline.cli.screen import Screen, Silent, real_stdout
    from trunkline.pipeline import run_pipeline

    with real_stdout() as file:
        viewer = Silent() if as_json else Screen(file)
        try:
            run_pipeline(root, viewer.on_stage, only)
            decision = _release(root) if promote else None
        except TrunklineError as fault:
            viewer.end(root, fault)
            raise
        viewer.end(root, None, decision)
    return 0 if decision is None or decision.promoted else GateError.code


def _release(root: Path) -> Decision:
    from trunkline.pipeline.release import release

    return release(root)
