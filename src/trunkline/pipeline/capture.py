"""What a stage prints, line by line, to whoever watches."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

LINES_KEPT = 20

Show = Callable[[str], None]
"""Called with each line, without its end."""


@contextlib.contextmanager
def captured(show: Show) -> Iterator[deque[str]]:
    """Send what this process and those it starts write to stdout and stderr to `show` instead; give the last lines.

    Whoever wants to reach the screen meanwhile writes to a copy of the descriptor that was made before.
    """
    tail: deque[str] = deque(maxlen=LINES_KEPT)
    read_end, write_end = os.pipe()
    reader = threading.Thread(target=_read, args=(read_end, show, tail), name="stage output", daemon=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [(number, os.dup(number)) for number in (1, 2)]
    for number, _ in saved:
        os.dup2(write_end, number)
    os.close(write_end)
    reader.start()
    try:
        yield tail
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
        reader.join(2.0)  # a process that the stage left behind may hold its end open for ever


def _read(read_end: int, show: Show, tail: deque[str]) -> None:
    with open(read_end, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            tail.append(line.rstrip())
            with contextlib.suppress(OSError):  # the screen is gone; the stage must not be held up by that
                show(line.rstrip())
