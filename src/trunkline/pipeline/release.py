"""From a finished run to the model in service, one process at a time: publish, compare, promote or keep, take back.

Where DVC versions the registry (`dvc add models/registry`), every decision brings models/registry.dvc up to date.
"""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import ArtifactError
from trunkline.files import read_json
from trunkline.monitoring.floors import floor_failures
from trunkline.pipeline.dvc_repo import open_repo
from trunkline.pipeline.lock import hold
from trunkline.pipeline.record import revision
from trunkline.project import Project, load_project
from trunkline.registry.promote import Decision, promote, rollback
from trunkline.registry.publish import publish
from trunkline.registry.store import CHAMPION, REGISTRY, Registry

TRACKED = REGISTRY.with_suffix(".dvc")


def release(root: Path, version: int | None = None, because: str | None = None) -> Decision:
    """Put a version into service if it may be.

    Args:
        root: The project's folder.
        version: The version. Default: what models/export/ holds, published first.
        because: Why it shall be in service whatever speaks against it.

    Raises:
        BusyError: A run, or another decision, is under way.
        TrunklineError: The version is unknown, missing or altered, or cannot be written; nothing was changed.
    """
    root = root.resolve()
    project = load_project(root)
    with hold(root):
        if version is None:
            version = publish(root, project, revision(root))
        decision = promote(root, project, version, because=because, objections=_fallen(root, project, because))
        track(root)
    return decision


def _fallen(root: Path, project: Project, because: str | None) -> list[str]:
    """Return which tasks of the model in service fell below their floors: a person looks before another takes over."""
    registry = Registry(root, project.export.name)
    champion = registry.aliases().get(CHAMPION)
    if champion is None:
        return []
    try:
        fallen = floor_failures(root, project, read_json(registry.path(champion) / "card.json").get("sha256"))
    except ArtifactError:
        if because is None:
            raise
        return []
    return [f"{line}, with version {champion}; `trunkline promote --force --because ...` overrides" for line in fallen]


def take_back(root: Path, because: str = "") -> Decision:
    """Put the version back into service that was there before.

    Raises:
        BusyError: A run, or another decision, is under way.
        ParamsError: There was none before.
        ArtifactError: Its files are missing or altered; nothing was changed.
    """
    root = root.resolve()
    with hold(root):
        decision = rollback(root, load_project(root), because)
        track(root)
    return decision


def track(root: Path) -> None:
    """Bring models/registry.dvc up to date where there is one; the caller holds the project's lock."""
    if (root / TRACKED).is_file():
        with open_repo(root) as repo:
            repo.commit(str(TRACKED), force=True)
