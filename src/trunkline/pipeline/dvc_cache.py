"""The objects of DVC's cache: where they lie, what a dvc.lock refers to, and what is inside a folder's object."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError
from trunkline.project import read_yaml

FOLDER = ".dir"  # how the hash of a folder ends; its object lists the files
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")


def object_path(cache: Path, name: str) -> Path:
    """Return where the object of a hash lies."""
    return cache / name[:2] / name[2:]


def objects(cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield hash and path of every object, those of folders first: none may outlive what it lists."""
    found = [(path.parent.name + path.name, path) for path in cache.glob("[0-9a-f][0-9a-f]/*")]
    yield from sorted((each for each in found if HASH.fullmatch(each[0])), key=lambda each: _is_file(each[0]))


def _is_file(name: str) -> bool:
    return not name.endswith(FOLDER)


def md5(path: Path) -> str:
    """Return the md5 of a file, by which DVC names it."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def listed(cache: Path, name: str) -> dict[str, str]:
    """Return the hash of each file of a folder, by its path within.

    Raises:
        ArtifactError: The folder's object is missing or damaged.
    """
    path = object_path(cache, name)
    try:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}
    except FileNotFoundError as fault:
        raise ArtifactError(
            f"{path}: is missing, so what it lists cannot be restored; `dvc pull` or run again"
        ) from fault
    except (ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"{path}: is damaged ({fault}); rm -f {path}, then `dvc pull` or run again") from fault


def stage_hashes(lock: Path) -> dict[str, dict[str, str]]:
    """Return what a dvc.lock says each stage wrote: by stage and path, its hash."""
    stages: dict[str, Any] = (read_yaml(lock) or {}).get("stages") or {}
    return {
        name: {out["path"]: str(out.get("md5", "")) for out in stage.get("outs") or []}
        for name, stage in stages.items()
    }


def referenced(lock: Path, cache: Path) -> set[str]:
    """Return every hash that a dvc.lock names, and what is inside those that are folders."""
    stages: dict[str, Any] = (read_yaml(lock) or {}).get("stages") or {}
    entries = [entry for stage in stages.values() for part in ("deps", "outs") for entry in stage.get(part) or []]
    names = {str(entry["md5"]) for entry in entries if entry.get("md5")}
    folders = [name for name in names if name.endswith(FOLDER) and object_path(cache, name).exists()]
    return names.union(*(listed(cache, name).values() for name in folders))
