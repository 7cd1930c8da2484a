"""A real service that follows the champion, and somebody who asks it without pause."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from benchmarks.replay.place import Place

PAUSE = 0.2  # seconds between two questions
PATIENCE = 60.0  # seconds in which the service must have followed
DATATYPES = {"numeric": "FP64", "categorical": "BYTES", "timestamp": "INT64"}


class Heard(NamedTuple):
    """Answers of a while: how many, the versions that gave them, and what went wrong."""

    answers: int
    versions: list[str]
    faults: list[str]


class Asker:
    """Asks one row again and again.

    Args:
        port: Of the service.
        name: Of the model.
        body: The question.
    """

    def __init__(self, port: int, name: str, body: bytes) -> None:
        self._port, self._path, self._body = port, f"/v2/models/{name}/infer", body
        self._heard: list[tuple[str, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE):
            try:
                self._heard.append(self._once())
            except (OSError, http.client.HTTPException, ValueError) as fault:
                self._heard.append(("", repr(fault)))

    def _once(self) -> tuple[str, str]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as link:
            link.request("POST", self._path, self._body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            content = json.loads(answer.read())
        return ("", f"{answer.status}: {content}") if answer.status != 200 else (content["model_version"], "")

    def mark(self) -> int:
        """Return a place in what was heard, for `since`."""
        return len(self._heard)

    def since(self, mark: int = 0) -> Heard:
        """Return what was heard since a place."""
        heard = self._heard[mark:]
        versions = list(dict.fromkeys(version for version, fault in heard if not fault))
        return Heard(len(heard), versions, [fault for _, fault in heard if fault])

    def follows(self, version: int) -> float | None:
        """Wait until a version answers; return the seconds, None where it never did."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            if self._heard and self._heard[-1][0] == str(version):
                return time.monotonic() - began
            time.sleep(PAUSE)
        return None

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def asked(place: Place, rows: pa.Table) -> Iterator[Asker]:
    """Start the service on the registry's folder and give who asks it; end both.

    Args:
        place: The project; a version is in service.
        rows: The first is what is asked.
    """
    command = [sys.executable, "-m", "trunkline", "serve", str(place.registry.folder), "--port", "0"]
    rest = None
    process = subprocess.Popen(command, cwd=place.root, env=place.environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines: list[str] = []
        while not (found := re.search(r"listening on http://.*:(\d+)$", "".join(lines[-1:]).rstrip())):
            lines.append(process.stderr.readline())
            if not lines[-1]:
                raise RuntimeError(f"the service ended: {lines}")
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        asker = Asker(int(found[1]), place.name, json.dumps(question(place, rows)).encode())
        try:
            yield asker
        finally:
            asker.stop()
    finally:
        process.terminate()
        process.wait(timeout=60)
        if rest:
            rest.join()
        if process.stderr:
            process.stderr.close()


def question(place: Place, rows: pa.Table) -> dict[str, Any]:
    """Return the request for the first of some rows."""
    (row,) = rows.slice(0, 1).to_pylist()
    inputs = place.read("models/export/card.json")["inputs"]
    return {"inputs": [_tensor(entry["name"], entry["kind"], row[entry["name"]]) for entry in inputs]}


def _tensor(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1, 1], "datatype": DATATYPES[kind], "data": [value]}
