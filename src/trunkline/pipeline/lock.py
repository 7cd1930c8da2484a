"""One run of a project at a time.

Whoever runs stages holds a lock on `.trunkline/lock`: `trunkline run` and the flow over the whole run, handing it
to their stages; the stage of a bare `dvc repro` while it runs. The file says who holds it. The system drops the
lock when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from trunkline.errors import ArtifactError, BusyError, EnvironmentFault

Found = TypeVar("Found")

LOCK = Path(".trunkline/lock")
OWNER = "TRUNKLINE_LOCK_OWNER"
"""Environment variable: process id of the run that holds the lock and started this process."""


class Holder(NamedTuple):
    """The process that holds the lock."""

    pid: int
    started: float
    """When the process started, seconds since 1970: process ids are used again."""
    command: str


def this_command() -> str:
    """Return how this process was called, short enough for a message."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    words = " ".join([name, *sys.argv[1:]])
    return words if len(words) <= 120 else f"{words[:117]}..."


@contextlib.contextmanager
def hold(root: Path, lock: Path = LOCK) -> Iterator[None]:
    """Hold the lock of the project at `root`, or raise at once.

    Args:
        root: The project's folder.
        lock: Which lock; a schedule has one of its own beside that of the run.

    Raises:
        BusyError: Another process holds it; the message names it.
        EnvironmentFault: The lock file cannot be written.
    """
    path = root / lock
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as fault:
        raise EnvironmentFault(f"{path}: cannot be written ({fault.strerror}); fix the permission") from fault
    try:
        _acquire(handle, root, lock)
        try:
            me = Holder(os.getpid(), psutil.Process().create_time(), this_command())
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(me._asdict()).encode(), 0)
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def undisturbed(root: Path, work: Callable[[], Found], doubtful: Callable[[Found], bool]) -> Found:
    """Return what reading the project gives; what looks wrong is read again with the lock held.

    So nobody is refused while all is well, and nothing is called damaged because a run was just writing it.

    Args:
        root: The project's folder.
        work: Reads. An ArtifactError of it may be a run's doing, too.
        doubtful: Whether what was read may be a run's doing.

    Raises:
        BusyError: Something looks wrong, and a run is under way.
        ArtifactError: Something is wrong.
    """
    with contextlib.suppress(ArtifactError):
        found = work()
        if not doubtful(found):
            return found
    with hold(root) if os.access(root, os.W_OK) else contextlib.nullcontext():  # where nobody may write, nobody runs
        return work()


def _acquire(handle: int, root: Path, lock: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy(holder(root, lock)) from None


def busy(who: Holder | None) -> BusyError:
    """Return the error that names the process in the way."""
    if who is None:
        return BusyError("this project is busy with another run; wait until it has ended, then run again")
    return BusyError(
        f"this project is busy: process {who.pid} (`{who.command}`) is running it; "
        f"wait until it has ended, or end it with `kill {who.pid}`"
    )


def holder(root: Path, lock: Path = LOCK) -> Holder | None:
    """Return the process that holds the lock, None where nobody does."""
    try:
        who = Holder(**json.loads((root / lock).read_text(encoding="utf-8")))
        return who if psutil.Process(who.pid).create_time() == who.started else None
    except (OSError, ValueError, TypeError, psutil.Error):
        return None


def is_inherited(root: Path) -> bool:
    """Whether the run that started this process holds the lock for it."""
    who = holder(root)
    if who is None or os.environ.get(OWNER) != str(who.pid):
        return False
    return any(parent.pid == who.pid for parent in psutil.Process().parents())


@contextlib.contextmanager
def hold_or_inherit(root: Path) -> Iterator[bool]:
    """Hold the lock while a stage runs, unless the run that started the stage holds it; give whether it does.

    Raises:
        BusyError: Another run holds it.
    """
    if is_inherited(root):
        yield True
        return
    with hold(root):
        yield False
