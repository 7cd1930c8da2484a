"""A command that goes on as one of the project's flows, in whose files alone Prefect is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from trunkline.errors import ParamsError


def find_flow(root: Path, flow: Path, repair: str = "take flows/ from trunkline's repository") -> Path:
    """Return a flow's file.

    Raises:
        ParamsError: The project has none.
    """
    if not (root / flow).is_file():
        raise ParamsError(f"{root / flow}: not found; {repair}")
    return root / flow


def become(flow: Path, *words: str) -> NoReturn:
    """Let the flow take this process's place."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(flow), *words])
