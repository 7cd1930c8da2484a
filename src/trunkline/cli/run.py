"""`trunkline run`"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ParamsError, TrunklineError

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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Bring every output up to date: what has not changed is not run again."""
    from trunkline.pipeline.lock import hold

    root = find_project()
    if changes:
        from trunkline.cli.settings import change_settings

        with hold(root):
            lines = change_settings(root, changes)
        print(*lines, sep="\n", file=sys.stderr if as_json else sys.stdout, flush=True)
    if prefect:
        _become_flow(root, only, as_json)
    return run_and_show(root, only, as_json)


def _become_flow(root: Path, only: str | None, as_json: bool) -> None:
    if not (root / FLOW).is_file():
        raise ParamsError(f"{root / FLOW}: not found; take it from trunkline's repository, or run without --prefect")
    words = [sys.executable, str(root / FLOW), *(["--only", only] if only else []), *(["--json"] if as_json else [])]
    os.execv(sys.executable, words)


def run_and_show(root: Path, only: str | None, as_json: bool) -> int:
    """Run the pipeline in view of the user.

    Returns:
        The exit code 0.

    Raises:
        TrunklineError: What the failed stage said.
    """
    from trunkline.cli.screen import Screen, Silent, real_stdout
    from trunkline.pipeline import run_pipeline

    with real_stdout() as file:
        viewer = Silent() if as_json else Screen(file)
        try:
            run_pipeline(root, viewer.on_stage, only)
        except TrunklineError as fault:
            viewer.end(root, fault)
            raise
        viewer.end(root, None)
    return 0
