"""A Prefect server on this machine, where the user has none: it ends with who started it, however that ends.

One run of the flow has a bare one; a schedule has one with its dashboard and the services that create runs. Prefect
brings one of its own, but that stays behind when the flow is killed, and a Ctrl-C in the terminal ends it before the
flow, which then waits a minute for it.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from trunkline.errors import EnvironmentFault
from trunkline.pipeline.family import end_with_parent

PATIENCE = 120.0  # seconds; 5 on an idle machine
FOR_ONE_RUN = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "false"}
FOR_A_SCHEDULE = {"PREFECT__SERVER_FINAL": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


class TemporaryServer:
    """A server that is starting; it is stopped when Python exits, after what was registered later.

    Args:
        home: Where its database lies.
        port: On this machine alone; 0 = any that is free.
        settings: Which of the two forms.

    Raises:
        EnvironmentFault: The port is taken.
    """

    def __init__(self, home: Path, port: int = 0, settings: Mapping[str, str] = FOR_ONE_RUN) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "server.log"
        with _listen(port) as listener, open(self.log, "wb") as log:
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                env={**os.environ, **settings, "PREFECT_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to the flow's group is not for the server
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            EnvironmentFault: It ended, or gave no answer in two minutes.
        """
        try:
            # The socket takes the question at once; the answer comes when the server has started.
            urllib.request.urlopen(f"{self.address}/health", timeout=PATIENCE).close()
        except (OSError, HTTPException) as fault:
            raise EnvironmentFault(
                f"Prefect's server did not start ({fault}); see {self.log}.\n"
                f"  `trunkline run` does the same work without it"
            ) from fault

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as fault:
        raise EnvironmentFault(
            f"port {port} of this machine cannot be had ({fault.strerror}): something else listens there; give another "
            f"one with --port, or the address of a Prefect server in PREFECT_API_URL"
        ) from fault


def serve(descriptor: int) -> None:
    """Serve Prefect's API on an open socket until told to end, or until the process that started this is gone."""
    import uvicorn

    end_with_parent()
    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
