"""After the stages: the new model beside the one in service, and which of them serves from now on."""

from __future__ import annotations

import importlib
from pathlib import Path

RELEASE = "trunkline.pipeline.release"


def promote_if_better(root: Path) -> str:
    """Publish models/export, compare it with the model in service on the same rows, and promote it if it is better.

    Returns:
        What was decided, and why.

    Raises:
        TrunklineError: The registry cannot be read or written, or another run has begun.
    """
    try:
        room = importlib.import_module(RELEASE)
    except ModuleNotFoundError as missing:
        if missing.name != RELEASE:
            raise
        return "not published: this version of trunkline has no registry"
    return str(room.release(root))
