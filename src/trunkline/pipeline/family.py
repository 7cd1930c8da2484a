"""Processes that end together: a stage does not outlive the run that started it, nor a run its stages.

DVC ends at SIGTERM without a word to the command it is running. A training that stays behind would write beside
the next one, so it watches its parents itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import FrameType
from typing import NoReturn, TypeVar

import psutil

GRACE = 10.0  # seconds that a process has to tidy up before it is killed
GLANCE = 0.5  # seconds between two looks at the parents
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
SHELLS = {"sh", "dash", "bash", "zsh", "fish", "ksh"}
STARTED_BY_DVC = "DVC_STAGE"

Result = TypeVar("Result")


def leave_on_sigterm() -> None:
    """Answer SIGTERM by leaving as on an exception: half-written files are removed, the exit code is 143."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # the parents, DVC and our own watch may each say it
    raise SystemExit(128 + number)


def end_undisturbed() -> None:
    """Ignore SIGTERM and SIGINT from now on: nothing may interrupt what is stopped when Python exits."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_with_parents() -> None:
    """End this process when DVC, or the shell between it and DVC, is gone. Does nothing outside DVC."""
    if STARTED_BY_DVC not in os.environ:
        return
    me = psutil.Process()
    shell = me.parent()
    # bash runs a lone command in its own place; dash stays between, and would hide that DVC is gone.
    _end_without_parents([me, shell] if shell is not None and shell.name() in SHELLS else [me])


def end_with_parent() -> None:
    """End this process when the one that started it is gone."""
    _end_without_parents([psutil.Process()])


def _end_without_parents(links: list[psutil.Process]) -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    parents = [(link, link.ppid()) for link in links]
    threading.Thread(target=_watch, args=(parents,), name="watch parents", daemon=True).start()


def _watch(links: list[tuple[psutil.Process, int]]) -> None:
    while all(_still_child(link, parent) for link, parent in links):
        time.sleep(GLANCE)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)  # the main thread is held up in foreign code


def _still_child(link: psutil.Process, parent: int) -> bool:
    try:
        return bool(link.ppid() == parent)
    except psutil.Error:
        return False


def supervise(work: Callable[[threading.Event], Result]) -> Result:
    """Do `work` in a thread, so that a signal is heard at once; at one, end the processes that the work started.

    Args:
        work: Gets an event that is set when it shall start nothing more.

    Returns:
        What `work` returns, or raises what it raises.
    """
    before = set(psutil.Process().children(recursive=True))
    stop = threading.Event()
    future: Future[Result] = Future()
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_fill, future, work, stop), name="pipeline", daemon=True).start()
    try:
        wait([future])  # not Thread.join: Python takes a join that a signal interrupts for the end of the thread
    except BaseException:
        stop.set()
        _end_children(before, future)
        raise
    return future.result()


def _fill(future: Future[Result], work: Callable[[threading.Event], Result], stop: threading.Event) -> None:
    try:
        future.set_result(work(stop))
    except BaseException as error:  # handed to the thread that waits
        future.set_exception(error)


def _end_children(before: set[psutil.Process], future: Future[Result]) -> None:
    """Ask the processes started since `before` to end, kill them when their time is over; let the thread tidy up."""
    deadline = time.monotonic() + GRACE
    asked: set[psutil.Process] = set()
    while (children := _alive_since(before)) or not future.done():
        late = time.monotonic() > deadline
        for child in children if late else children - asked:
            _send(child, signal.SIGKILL if late else signal.SIGTERM)
        asked |= children
        wait([future], timeout=1.0 if late else 0.05)
        if late:
            return


def _alive_since(before: set[psutil.Process]) -> set[psutil.Process]:
    # psutil must not wait for them: it would take the exit code away from DVC, which would read it as success.
    return {child for child in set(psutil.Process().children(recursive=True)) - before if _runs(child)}


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
