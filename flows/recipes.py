"""What `trunkline recipes` becomes: whole runs beside each other, here or on the workers of a Dask cluster.

Prefect's server is a temporary one (SQLite under .trunkline/prefect/, or PREFECT_HOME), unless PREFECT_API_URL names
another.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from temporary_server import TemporaryServer

from trunkline.cli.app import say_why
from trunkline.pipeline.clones import Job
from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.family import leave_on_sigterm
from trunkline.pipeline.lock import hold

LOCK = Path(".trunkline/recipes.lock")
SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # each run says in a line how it ended; Prefect has the rest
    "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
}


class Asked(NamedTuple):
    """What the user asked for."""

    root: str
    jobs: list[dict[str, Any]]
    at_once: int
    dask: str | None
    as_json: bool


def main(asked: Asked) -> int:
    """Do the runs and show them.

    Returns:
        The exit code: that of the first recipe that failed, else 0.

    Raises:
        EnvironmentFault: Prefect's server did not start.
        BusyError: The project tries recipes already.
    """
    be_quiet()
    os.environ |= {**SETTINGS, **os.environ}
    root = Path(asked.root)
    with hold(root, LOCK):
        server = _server(root)
        from flow_recipes import (
            try_recipes,
        )  # Prefect reads its settings when it is imported; the server starts meanwhile

        if server:
            server.wait()
        return try_recipes(root, [Job(**job) for job in asked.jobs], asked.at_once, asked.dask, asked.as_json)


def _server(root: Path) -> TemporaryServer | None:
    if "PREFECT_API_URL" in os.environ:
        return None
    server = TemporaryServer(Path(os.environ.setdefault("PREFECT_HOME", str(root / ".trunkline" / "prefect"))))
    os.environ["PREFECT_API_URL"] = server.address
    return server


if __name__ == "__main__":
    leave_on_sigterm()
    try:
        code = main(Asked(**json.loads(sys.argv[1])))
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except Exception as error:
        code = say_why(error)
    finally:
        # The server is stopped when Python exits; nothing may interrupt that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
