"""After the stages: the new model beside the one in service, and which of them serves from now on."""

from __future__ import annotations

import importlib
from pathlib import Path

from trunkline.project import load_project

REGISTRY = "trunkline.registry"


def promote_if_better(root: Path) -> str:
    """Publish models/export, compare it with the model in service on the same rows, and promote it if it is better.

    Returns:
        What was decided, and why.

    Raises:
        TrunklineError: The registry cannot be read or written.
    """
    try:
        registry = importlib.import_module(REGISTRY)
    except ModuleNotFoundError as missing:
        if missing.name != REGISTRY:
            raise
        return "not published: this version of trunkline has no registry"
    project = load_project(root)
    registry.publish(root, project)
    registry.compare_in_service(root, project)
    return str(registry.promote(root, project))
