"""Why a stage failed, handed from the stage to whoever runs the pipeline.

DVC tells only that a command failed, so a failing stage leaves its exit code and message in
`.trunkline/last_failure.json`; `trunkline run` and the flow end with that code and say that message.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from pydantic import ValidationError

from trunkline.declared import Declared
from trunkline.errors import ArtifactError, EnvironmentFault, TrunklineError
from trunkline.files import read_json, write_json, write_text

LAST_FAILURE = Path(".trunkline/last_failure.json")
TRACEBACK = Path(".trunkline/traceback.txt")
DEBUG = "TRUNKLINE_DEBUG"
"""Environment variable: where it is set, errors are shown with their traceback."""
BUG = 1
OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "ArrowMemoryError")
MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOMEM, errno.EMFILE}


class StageFailure(TrunklineError):
    """A stage failed in a way that has no class of its own; the exit code is the stage's."""

    def __init__(self, message: str, code: int = BUG) -> None:
        super().__init__(message)
        self.code = code


class Failure(Declared):
    """One failed stage: its name, the task of a baseline, the exit code and the whole message."""

    stage: str
    task: str | None
    code: int
    message: str

    def as_error(self) -> TrunklineError:
        """Return the error that the stage ended with."""
        for kind in TrunklineError.__subclasses__():
            if kind.code == self.code and kind is not StageFailure:
                return kind(self.message)
        return StageFailure(self.message, self.code)


def write_failure(root: Path, failure: Failure) -> None:
    """Leave `failure` for whoever started the stage."""
    write_json(root / LAST_FAILURE, failure.model_dump())


def read_failure(root: Path) -> Failure | None:
    """Return the failure that a stage left since `clear_failure`, None where there is none."""
    try:
        return Failure.model_validate(read_json(root / LAST_FAILURE))
    except (ArtifactError, ValidationError):
        return None


def clear_failure(root: Path) -> None:
    """Forget the failure of an earlier run."""
    (root / LAST_FAILURE).unlink(missing_ok=True)


def machine_fault(error: BaseException) -> EnvironmentFault | None:
    """Say in a sentence that the machine is in the way; None where it is not to blame.

    Args:
        error: Anything that was raised; what caused it is looked at too.
    """
    for cause in chain_of(error):
        if isinstance(cause, EnvironmentFault):
            return cause
        if {kind.__name__ for kind in type(cause).__mro__} & set(OUT_OF_MEMORY):
            return EnvironmentFault("not enough memory; lower training.batch, or free memory, then run again")
        if isinstance(cause, OSError) and cause.errno in MACHINE_FAULTS:
            where = f"{cause.filename}: " if cause.filename else ""
            return EnvironmentFault(f"{where}{cause.strerror}; free space or fix the permission, then run again")
    return None


def report_bug(root: Path, error: BaseException) -> str:
    """Keep the traceback of an error that is nobody's fault but ours, and say in a line where it is."""
    write_text(root / TRACEBACK, "".join(traceback.format_exception(error)))
    found = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return f"a bug in trunkline ({found}); please report it with {root / TRACEBACK}"


def chain_of(error: BaseException | None) -> list[BaseException]:
    """Return an error and what caused it, the error first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
