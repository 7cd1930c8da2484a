"""What can go wrong, said to the person who must act: where, what was found, what to do next.

Each class carries the exit code the command line answers with. None of them is shown with a traceback.
"""

from __future__ import annotations


class TrunklineError(Exception):
    """A fault the user can repair. `str(error)` is the whole message; `code` the exit code."""

    code = 2


class ParamsError(TrunklineError):
    """params.yaml, or a word on the command line, is not what trunkline understands (exit code 2)."""

    code = 2


class DataError(TrunklineError):
    """The data was read but refused: a broken file, a failed rule, a leak (exit code 3)."""

    code = 3


class ArtifactError(TrunklineError):
    """A file that a stage wrote is missing, truncated or altered since (exit code 4)."""

    code = 4


class EnvironmentFault(TrunklineError):
    """The machine is in the way: disk, permission, memory, a tool that is not installed (exit code 5)."""

    code = 5


class GateError(TrunklineError):
    """A promise about the model does not hold, such as parity of the exported file (exit code 6)."""

    code = 6


class BusyError(TrunklineError):
    """Another run holds this project (exit code 75, as sysexits' EX_TEMPFAIL)."""

    code = 75
