"""A real service in a process of its own, and a raw client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

INFER = "/v2/models/tiny/infer"
DATATYPES = {"x": "FP64", "origin": "BYTES", "time_hour": "INT64"}
ROW: dict[str, Any] = {"x": 1.5, "origin": "EWR", "time_hour": 0}


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of a refusal, which holds nothing else."""
        assert list(self.json) == ["error"] and self.headers["content-type"] == "application/json"
        return str(self.json["error"])


class ServiceProcess:
    """`trunkline serve` on a free port."""

    def __init__(self, *words: str | Path, token: str | None = None) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"} | ({"TRUNKLINE_TOKEN": token} if token else {})
        command = [sys.executable, "-m", "trunkline", "serve", *map(str, words), "--port", "0"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        while not (found := re.search(r"listening on http://.*:(\d+)$", self.line())):
            pass
        self.port = int(found[1])

    def line(self) -> str:
        """Return the next line of its log, without the end of the line."""
        line = self.process.stderr.readline()
        assert line, f"the service ended: {self.lines}"
        self.lines.append(line.rstrip("\n"))
        return self.lines[-1]

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send one request on a connection of its own."""
        with self.connect() as link:
            return call(link, method, path, body, **headers)

    @contextlib.contextmanager
    def connect(self) -> Iterator[http.client.HTTPConnection]:
        """Give a connection."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as link:
            yield link

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Return the exit code, at most 20 s later."""
        self.lines += self.process.stderr.read().splitlines()
        return self.process.wait(timeout=20)

    def __enter__(self) -> ServiceProcess:
        """Nothing to do: it runs."""
        return self

    def __exit__(self, *fault: object) -> None:
        """End it, whatever happened."""
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def call(link: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """Send one request."""
    link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = link.getresponse()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as input tensors."""
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in DATATYPES.items()
    ]


def question(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the body of a request for rows, each `ROW` with changes."""
    return {"inputs": tensors([ROW | row for row in rows or ({},)]), **more}


def packed(content: Any) -> bytes:
    """Return JSON."""
    return json.dumps(content).encode()
