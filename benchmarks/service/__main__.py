"""`python -m benchmarks.service`, which `make bench-serve` runs: clients nobody here wrote, and a minute of load."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environment import environment

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ROWS = 50
RATE, CONNECTIONS = 500, 4
CASES, EXAMPLES = 500, 60
MIB = 1 << 20
WARM = 3000  # requests before the memory is looked at


class Line(NamedTuple):
    """One thing that was looked at."""

    what: str
    seen: str
    bar: str
    passed: bool


class Running:
    """A service in a process of its own."""

    def __init__(self, model: Path, module: str = "trunkline") -> None:
        command = [sys.executable, "-m", module, "serve", f"flights={model}", "--port", "0"]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        while not (found := re.search(r"listening on http://.*:(\d+)$", self.process.stderr.readline())):  # type: ignore[union-attr]
            pass
        self.port = int(found[1])
        threading.Thread(target=lambda: list(self.process.stderr or []), daemon=True).start()

    def resident(self) -> int:
        """Return the bytes it holds in memory."""
        import psutil

        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def running(model: Path, module: str = "trunkline") -> Iterator[Running]:
    """Give a service, and end it whatever happens."""
    service = Running(model, module)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


def main() -> int:
    """Measure and print a table.

    Returns:
        1 where a bar is missed, else 0.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.service", description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models/export", help="folder of the export")
    parser.add_argument("--seconds", type=float, default=60, help="of load")
    parser.add_argument("--clients", type=Path, help="a Python that has clients.txt; else one is made in .trunkline/")
    chosen = parser.parse_args()
    if not (chosen.model / "model.onnx").exists():
        parser.error(f"{chosen.model} holds no model; run `make demo` first")
    python = chosen.clients or make_clients()
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            *with_clients(chosen.model, python, Path(folder)),
            *with_load(chosen.model, chosen.seconds, Path(folder)),
        ]
    width = max(len(line.what) for line in lines)
    for line in lines:
        print(f"{line.what:<{width}}  {line.seen:>28}  {line.bar:<24}{'' if line.passed else '  MISSED'}")
    print(f"{sum(line.passed for line in lines)} of {len(lines)} hold")
    return int(not all(line.passed for line in lines))


def make_clients() -> Path:
    """Return the Python of an environment with the clients, which is made once."""
    return environment("clients", HERE / "clients.txt")


# --- clients ----------------------------------------------------------------------------------------------


def with_clients(model: Path, python: Path, folder: Path) -> Iterator[Line]:
    """Run the battery and schemathesis against one service."""
    write_rows(model, folder)
    with running(model) as service:
        files = [folder / "rows.json", folder / "right.json"]
        done = subprocess.run(
            [python, HERE / "client_checks.py", str(service.port), *files], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        for what, passed, remark in json.loads(done.stdout):
            yield Line(what, "holds" if passed else remark, "", passed)
        yield fuzzed(python, service, folder)
    yield read_by_triton(model, python, folder)


def read_by_triton(model: Path, python: Path, folder: Path) -> Line:
    """Read the config.pbtxt of a Triton repository with the protobuf that tritonclient brings."""
    from google.protobuf import text_format

    from trunkline.forms.triton import write_triton

    find = "import importlib.util as u; print(u.find_spec('tritonclient').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    spec = importlib.util.spec_from_file_location("model_config_pb2", f"{found}/grpc/model_config_pb2.py")
    assert spec is not None and spec.loader is not None
    protobuf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(protobuf)
    text = (write_triton(model / "model.onnx", folder / "repository").parent / "config.pbtxt").read_text()
    try:
        read = text_format.Parse(text, protobuf.ModelConfig())
    except text_format.ParseError as fault:
        return Line("Triton's protobuf reads config.pbtxt", str(fault), "", False)
    return Line("Triton's protobuf reads config.pbtxt", f"{len(read.input)} in, {len(read.output)} out", "", True)


def write_rows(model: Path, folder: Path) -> None:
    """Write the sample's rows as JSON columns, and what `trunkline predict` gives for them."""
    import pyarrow.parquet as pq

    from trunkline.serving.feeds import build_feeds
    from trunkline.serving.session import open_model

    opened = open_model(model / "model.onnx")
    table = pq.read_table(model / "sample.parquet").slice(0, ROWS)
    feeds, _ = build_feeds(table, opened.inputs)
    kinds = {"numeric": "FP64", "categorical": "BYTES", "timestamp": "INT64"}
    rows = {name: (kinds[kind], [_cell(value) for value in feeds[name].ravel()]) for name, kind in opened.inputs}
    right = {name: values.tolist() for name, values in opened.run(feeds).items()}
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "right.json").write_text(json.dumps(right))
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": kind, "data": cells[:1]} for name, (kind, cells) in rows.items()
    ]
    (folder / "one.json").write_text(json.dumps({"inputs": tensors}))


def _cell(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain


def fuzzed(python: Path, service: Running, folder: Path) -> Line:
    """Let schemathesis make up requests from the OpenAPI document."""
    report = folder / "schemathesis.json"
    command = [
        python, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/openapi.json",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1", "--warnings", "off",
        "--report", "json", "--report-json-path", report,
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    if not report.exists():
        raise RuntimeError(done.stdout + done.stderr)
    cases = json.loads(report.read_text())["test_cases"]
    made, failed = cases["generated"], cases["with_failures"] + cases["errored"]
    return Line("schemathesis", f"{made} cases, {failed} failed", f">= {CASES}, 0", made >= CASES and failed == 0)


# --- load -------------------------------------------------------------------------------------------------


def with_load(model: Path, seconds: float, folder: Path) -> Iterator[Line]:
    """Ask at a steady pace, and look at waits and memory; then while models are reloaded."""
    with running(model) as service:
        load(service, folder, RATE, WARM / RATE)
        before, spent = service.resident(), cpu_seconds(service)
        found = load(service, folder, RATE, seconds)
        grown = (service.resident() - before) / MIB
        cost = 1e3 * (cpu_seconds(service) - spent) / found["answers"]
        idle = 100 * (1 - os.getloadavg()[0] / (os.cpu_count() or 1))
        yield Line(
            f"answers per second, {seconds:g} s", f"{found['rate']:.0f}", f">= {RATE}", found["rate"] >= RATE - 5
        )
        yield Line("99 % of the waits", f"{found['p99']:.1f} ms", "<= 25 ms", found["p99"] <= 25)
        yield Line("median and longest wait", f"{found['median']:.1f}, {found['longest']:.1f} ms", "", True)
        yield Line("errors", f"{found['errors']} of {found['answers']}", "0", found["errors"] == 0)
        yield Line("memory grown", f"{grown:.1f} MiB of {before / MIB:.0f}", "<= 5 MiB", grown <= 5)
        yield Line("processor per answer", f"{cost:.2f} ms", "", True)
        yield Line("machine idle besides", f"{max(idle, 0):.0f} %", "", True)
        yield reloaded(service, folder)
        yield Line("exit code at SIGTERM", str(code := service.end()), "0", code == 0)
    with running(model, "benchmarks.service.leaky") as service:
        load(service, folder, RATE, WARM / RATE)
        before = service.resident()
        load(service, folder, RATE, max(20.0, seconds / 3))
        grown = (service.resident() - before) / MIB
        yield Line("memory grown, 1 KiB kept per request", f"{grown:.1f} MiB", "> 5 MiB (must be seen)", grown > 5)


def load(service: Running, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Run the client in a process of its own."""
    words = [service.port, folder / "one.json", rate, seconds, CONNECTIONS]
    command = [sys.executable, "-m", "benchmarks.service.load", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def cpu_seconds(service: Running) -> float:
    """Return what the service has used of the processor."""
    import psutil

    used = psutil.Process(service.process.pid).cpu_times()
    return float(used.user + used.system)


def reloaded(service: Running, folder: Path) -> Line:
    """Reload twice a second under load."""
    stop = threading.Event()

    def again() -> None:
        while not stop.wait(0.5):
            service.process.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        found = load(service, folder, RATE / 2, 10)
    finally:
        stop.set()
        thread.join()
        time.sleep(0.5)
    return Line("errors while reloading", f"{found['errors']} of {found['answers']}", "0", found["errors"] == 0)


if __name__ == "__main__":
    sys.exit(main())
