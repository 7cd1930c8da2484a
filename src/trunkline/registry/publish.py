"""Make models/export/ a version of the registry: copied, checked against its seal, there in one step or not at all.

With the model go params.yaml and dvc.lock of the run, so that its origin can be told later, whatever git holds.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError
from trunkline.files import MANIFEST, atomic_path, check_seal, read_json, seal, sha256, write_json
from trunkline.registry.store import CANDIDATE, CHAMPION, ENTRY, FORMAT, Registry
from trunkline.registry.wanted import Wanted

EXPORT = Path("models/export")
RAW = Path("data/raw")
EVALUATION = Path("reports/evaluation.json")
EXPORTED = ("model.onnx", "card.json", "MODEL_CARD.md", "sample.parquet", "reference.json")
ORIGIN = ("params.yaml", "dvc.lock")  # where they exist
Sealed = dict[str, dict[str, Any]]


def publish(root: Path, project: Wanted, revision: str | None = None) -> int:
    """Publish models/export/ as a new version, the registry's candidate.

    Args:
        root: The project's folder; the caller holds its lock.
        project: What is declared.
        revision: Git's revision, with `+` behind it where files differ; None outside git.

    Returns:
        The version; an earlier one where that is the same model with the same card and scores, and whole.

    Raises:
        ArtifactError: A file is missing or altered, or the scores are not those of this model.
        EnvironmentFault: The disk is full or the folder cannot be written; nothing was published.
    """
    registry = Registry(root, project.export.name)
    sealed: Sealed = check_seal(root / EXPORT, EXPORTED)["files"]
    sources = _sources(root)
    registry.sweep()
    version = _same(registry, sources)
    if version is None:
        version = max(registry.versions(), default=0) + 1
        _write(registry, version, sources, sealed, _origin(root, revision))
    aliases = registry.aliases()
    if version not in (aliases.get(CHAMPION), aliases.get(CANDIDATE)):
        registry.set_aliases({CANDIDATE: version})
    return version


def _sources(root: Path) -> dict[str, Path]:
    """Return the files of a version by name; the scores must be those that the card was written from."""
    card, evaluation = read_json(root / EXPORT / "card.json"), read_json(root / EVALUATION)
    if any(card[part] != evaluation.get(part) for part in ("gates", "deployable", "composite")):
        raise ArtifactError(
            f"{root / EVALUATION}: is not the evaluation that {EXPORT / 'card.json'} was written from; "
            f"run `trunkline run`, which makes them agree"
        )
    origin = {name: root / name for name in ORIGIN if (root / name).is_file()}
    return {name: root / EXPORT / name for name in EXPORTED} | {"evaluation.json": root / EVALUATION} | origin


def _same(registry: Registry, sources: dict[str, Path]) -> int | None:
    """Return the newest version that is whole and has these files; where they came from may differ."""
    wanted = {name: sha256(sources[name]) for name in (*EXPORTED, "evaluation.json")}
    for version in reversed(registry.versions()):
        with contextlib.suppress(ArtifactError):
            sealed = read_json(registry.path(version) / MANIFEST).get("files", {})
            if all(sealed.get(name, {}).get("sha256") == held for name, held in wanted.items()):
                registry.check(version)
                return version
    return None


def _write(registry: Registry, version: int, sources: dict[str, Path], sealed: Sealed, origin: dict[str, Any]) -> None:
    made = registry.folder / f".{version}.tmp"
    for name, source in sources.items():
        with atomic_path(made / name) as temporary:
            shutil.copyfile(source, temporary)
    seal(made, sources)
    copied = read_json(made / MANIFEST)["files"]
    for name in EXPORTED:
        if copied[name] != sealed[name]:
            raise ArtifactError(
                f"{made / name}: has other bytes than {sources[name]}; look at the disk, then run again"
            )
    entry = {
        "format": FORMAT,
        "version": version,
        "name": registry.name,
        "published": now(),
        "stage": CANDIDATE,
        "created_from": origin,
        "promoted": [],
    }
    write_json(made / ENTRY, entry)
    made.rename(registry.path(version))


def _origin(root: Path, revision: str | None) -> dict[str, Any]:
    """Return what the model came from: the facts of the run that no file of the export holds."""
    card, raw, lock = read_json(root / EXPORT / "card.json"), root / RAW / MANIFEST, root / "dvc.lock"
    drops = read_json(raw).get("drops", []) if raw.is_file() else []
    return {
        "revision": revision.rstrip("+") if revision else None,
        "dirty": bool(revision and revision.endswith("+")),
        "data_sha256": card["data_sha256"],
        "params_sha256": card["params_sha256"],
        "dvc_lock_sha256": sha256(lock) if lock.is_file() else None,
        "drops": [{part: drop.get(part) for part in ("name", "rows", "sha256")} for drop in drops],
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
