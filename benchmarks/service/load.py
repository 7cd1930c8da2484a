"""A raw client that asks at a steady pace: python -m benchmarks.service.load PORT BODY RATE SECONDS CONNECTIONS.

Each connection has its own times to ask at. A wait is counted from that time, not from when the client got round to
it, so that a service which stalls is not excused by a client that waits for it. Prints one JSON object.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

PATH = "/v2/models/flights/infer"


class Load(NamedTuple):
    """What came of it."""

    answers: int
    errors: int
    rate: float
    """Answers per second."""

    median: float
    p99: float
    longest: float
    """Milliseconds."""


def ask(port: int, body: bytes, rate: float, seconds: float, connections: int) -> Load:
    """Ask and count.

    Args:
        port: Of the service on this machine.
        body: Of every request.
        rate: Requests per second, all connections together.
        seconds: How long.
        connections: Kept open all the time.
    """
    waits: list[list[float]] = [[] for _ in range(connections)]
    errors = [0] * connections
    start, every = time.perf_counter() + 0.05, connections / rate
    threads = [
        threading.Thread(
            target=_one, args=(port, body, start + place / rate, every, seconds, waits[place], errors, place)
        )
        for place in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - start
    times = sorted(1e3 * wait for part in waits for wait in part) or [float("inf")]
    p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
    return Load(len(times), sum(errors), len(times) / spent, times[len(times) // 2], p99, times[-1])


def _one(
    port: int,
    body: bytes,
    start: float,
    every: float,
    seconds: float,
    waits: list[float],
    errors: list[int],
    place: int,
) -> None:
    request = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn in range(int(seconds / every)):
            due = start + turn * every
            time.sleep(max(0.0, due - time.perf_counter()))
            link.sendall(request)
            status = _read(link)
            waits.append(time.perf_counter() - due)
            errors[place] += status != b"200"


def _read(link: socket.socket) -> bytes:
    """Return the status of a whole answer."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += _some(link)
    head, _, rest = content.partition(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
    while len(rest) < length:
        rest += _some(link)
    return head[9:12]


def _some(link: socket.socket) -> bytes:
    piece = link.recv(1 << 16)
    if not piece:
        raise ConnectionError("the service hung up")
    return piece


if __name__ == "__main__":
    port, body, rate, seconds, connections = sys.argv[1:]
    found = ask(int(port), Path(body).read_bytes(), float(rate), float(seconds), int(connections))
    print(json.dumps(found._asdict()))
