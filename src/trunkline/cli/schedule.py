"""`trunkline schedule`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.flow_file import become, find_flow
from trunkline.cli.project_folder import find_project
from trunkline.errors import ParamsError

FLOW = Path("flows/schedule.py")
PORT = 4200


def schedule(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help='When to run: "0 3 1 * *" is 03:00 on the first of each month.')
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Of --cron, such as Europe/Berlin. Default: UTC.")
    ] = None,
    every: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, help="Run again after this many seconds instead.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run when a new file has landed in data/incoming/.")] = False,
    settle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long a new file must stay as it is.")
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="One run now, as the schedule would do it, and end.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Put the new model into service where it is better.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of Prefect's dashboard; 0 = any that is free.")] = PORT,
) -> int:
    """Retrain by the clock, or when data arrives, until this is ended. One run at a time."""
    root = find_project()
    if not (cron or every or watch or once):
        raise ParamsError('schedule: say when: --cron "0 3 1 * *", --every SECONDS, --watch, or --once for a run now')
    if cron and every:
        raise ParamsError("schedule: --cron and --every exclude each other")
    if timezone and not cron:
        raise ParamsError("schedule: --timezone belongs to --cron")
    flow = find_flow(root, FLOW)
    chosen = {"cron": cron, "timezone": timezone, "every": every, "watch": watch, "settle": settle}
    asked = {"root": str(root), **chosen, "once": once, "promote": promote, "port": port}
    become(flow, json.dumps(asked))
