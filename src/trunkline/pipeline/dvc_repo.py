"""DVC as a library: opened quietly, its complaints said in our words."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.declared import did_you_mean
from trunkline.errors import BusyError, EnvironmentFault, ParamsError, TrunklineError
from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.failure import StageFailure, chain_of, machine_fault
from trunkline.pipeline.lock import busy, holder

STATUS = re.compile(r"exited with (-?\d+)$")
COMMAND_NOT_FOUND = 127


@contextlib.contextmanager
def open_repo(root: Path) -> Iterator[Any]:
    """Give DVC's `Repo` of the project at `root`; DVC reads relative paths, so that is the current folder meanwhile.

    Raises:
        ParamsError: There is no project here, or no DVC; or dvc.yaml, dvc.lock or params.yaml is broken.
        BusyError: Another DVC is at work.
    """
    require_project(root)
    be_quiet()
    with contextlib.chdir(root), _quiet():
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            with Repo(str(root), _wait_for_lock=True) as repo:
                yield repo
        except DvcException as error:
            raise in_our_words(root, error) from error


def require_project(root: Path) -> None:
    """Raise what is missing at `root` before a pipeline can run there, and how to make it.

    Raises:
        ParamsError: No dvc.yaml, or DVC was never initialised.
    """
    if not (root / "dvc.yaml").is_file():
        raise ParamsError(
            f"{root.resolve()}: has no dvc.yaml, so it is no trunkline project; go to the project's folder"
        )
    if not (root / ".dvc").is_dir():
        repair = "dvc init" if (root / ".git").exists() else "git init && dvc init"
        raise ParamsError(f"{root.resolve()}: DVC keeps no record here yet; run once: {repair}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep DVC's advice and its deprecation warnings, which concern its authors, off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dvc.logger  # sets the level of its log, so it comes before ours

        log = logging.getLogger(dvc.__name__)
        before = log.level
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(before)


def in_our_words(root: Path, error: BaseException) -> TrunklineError:
    """Return the error to show for one that DVC raised."""
    from dvc.lock import LockError

    chain = chain_of(error)
    for cause in chain:
        if isinstance(cause, TrunklineError):
            return cause
        if isinstance(cause, LockError):
            return _busy(root, str(cause))
    if fault := machine_fault(error):
        return fault
    said = [" ".join(str(cause).split()) for cause in chain if str(cause)]
    return ParamsError("DVC: " + ": ".join(dict.fromkeys(said)))


def _busy(root: Path, said: str) -> BusyError:
    """Name the process in the way: ours by our lock, another DVC by what DVC says of it."""
    if who := holder(root):
        return busy(who)
    if blocker := re.search(r"\(PID (\d+)\): (.*)", said):
        return BusyError(
            f"this project is busy: process {blocker[1]} (`{blocker[2]}`) is using it; wait until it has ended"
        )
    return busy(None)


def stage_failure(name: str, error: BaseException, last_lines: list[str]) -> TrunklineError | None:
    """Return the error for a stage's command that failed without leaving a message; None for any other error."""
    from dvc.stage.exceptions import StageCmdFailedError

    failed = next((cause for cause in chain_of(error) if isinstance(cause, StageCmdFailedError)), None)
    if failed is None:
        return None
    found = STATUS.search(str(failed))
    status = int(found[1]) if found else 1
    if number := _signal(status):
        return EnvironmentFault(
            f"stage {name}: was killed by signal {number}; 9 mostly means that memory ran out. Free some and run again"
        )
    if status == COMMAND_NOT_FOUND:
        return EnvironmentFault(f"stage {name}: {' '.join(last_lines[-1:])}; run `make setup`")
    lines = "\n  ".join(last_lines) or "it printed nothing"
    return StageFailure(f"stage {name}: ended with exit code {status}. Its last lines:\n  {lines}", max(status, 1))


def _signal(status: int) -> int | None:
    """Return the signal that ended a command: DVC's own child tells -N, a shell that stood between tells 128 + N."""
    number = -status if status < 0 else status - 128
    return number if 0 < number < signal.NSIG else None


def known_targets(repo: Any, only: str) -> list[str]:
    """Return the stages that `only` names: one stage, or all of a group such as `baseline`.

    Raises:
        ParamsError: No stage has that name.
    """
    names = [stage.addressing for stage in repo.index.stages if getattr(stage, "name", None)]
    chosen = [name for name in names if only in (name, name.partition("@")[0])]
    if not chosen:
        known = list(dict.fromkeys([*(name.partition("@")[0] for name in names), *names]))
        hint = did_you_mean(only, known) or f"; the stages are {', '.join(known)}"
        raise ParamsError(f"'{only}' is no stage{hint}")
    return chosen
