"""What `trunkline schedule` becomes: serves the pipeline on this machine, by the clock or when data arrives.

Prefect's server (SQLite under .trunkline/prefect/, or PREFECT_HOME) creates the runs, a runner of Prefect's starts
them, each in a process of its own, one at a time. PREFECT_API_URL names another server to use instead.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from temporary_server import FOR_A_SCHEDULE, TemporaryServer

from trunkline.cli.app import say_why
from trunkline.errors import ParamsError
from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.family import end_undisturbed, leave_on_sigterm
from trunkline.pipeline.lock import hold

LOCK = Path(".trunkline/schedule.lock")
BY_SCHEDULE = "TRUNKLINE_SCHEDULE"  # as flows/pipeline.py has it
CHECKED = "--clock-is-checked"
SETTINGS = {
    "PREFECT_RUNNER_POLL_FREQUENCY": "5",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # each run says in a line how it ended; Prefect has the rest
}


class Asked(NamedTuple):
    """What the user asked for."""

    root: str
    cron: str | None
    timezone: str | None
    every: float | None
    watch: bool
    settle: float
    once: bool
    promote: bool
    port: int


def main(asked: Asked) -> int:
    """Serve until told to end, or with `once` until one run has ended.

    Returns:
        The exit code: that of the run with `once`, else 0.

    Raises:
        EnvironmentFault: The server did not start, or is gone.
        BusyError: The project has a schedule already.
    """
    be_quiet()
    os.environ |= {**SETTINGS, **os.environ, BY_SCHEDULE: "1"}
    root = Path(asked.root)
    with hold(root, LOCK):
        server = _server(root, asked.port)
        from flow_service import serve  # Prefect reads its settings when it is imported; the server starts meanwhile

        return serve(asked, server)


def demand_clock(asked: Asked) -> None:
    """Demand a cron line and a time zone as Prefect reads them.

    Raises:
        ParamsError: One of them is none.
    """
    zone = asked.timezone or "UTC"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as fault:
        raise ParamsError(f"--timezone {zone!r}: is no time zone; such as Europe/Berlin") from fault
    be_quiet()
    if "PREFECT_API_URL" not in os.environ:
        _set_home(Path(asked.root))
    from prefect.schedules import Cron

    try:
        Cron(str(asked.cron), timezone=zone)
    except ValueError as fault:
        raise ParamsError(f"--cron {asked.cron!r}: is no cron line; five fields, such as '0 3 1 * *'") from fault


def _set_home(root: Path) -> Path:
    home = Path(os.environ.setdefault("PREFECT_HOME", str(root / ".trunkline" / "prefect")))
    home.mkdir(parents=True, exist_ok=True)  # else Prefect complains when it is imported
    return home


def _server(root: Path, port: int) -> TemporaryServer | None:
    if "PREFECT_API_URL" in os.environ:
        return None
    home = _set_home(root)
    server = TemporaryServer(home, port, FOR_A_SCHEDULE)
    os.environ["PREFECT_API_URL"] = server.address
    return server


if __name__ == "__main__":
    leave_on_sigterm()
    try:
        wanted = Asked(**json.loads(sys.argv[1]))
        if wanted.cron and CHECKED not in sys.argv:
            demand_clock(wanted)
            # Anew: Prefect has read its settings, and the server's address will be one of them.
            os.execv(sys.executable, [sys.executable, *sys.argv, CHECKED])
        code = main(wanted)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except Exception as error:
        code = say_why(error)
    finally:
        end_undisturbed()  # the server is stopped when Python exits
    sys.exit(code)
