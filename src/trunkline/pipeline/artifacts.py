"""Holds what lies on the disk against what was written: outputs and cache against dvc.lock, models against their seals.

DVC compares files by time and size and restores a damaged object without a word; here everything is hashed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.errors import ArtifactError
from trunkline.pipeline.dvc_cache import FOLDER, listed, md5, object_path
from trunkline.pipeline.dvc_repo import open_repo
from trunkline.registry import Registry
from trunkline.registry.store import REGISTRY


class Look(NamedTuple):
    """One thing that was hashed again."""

    what: str
    """output | object | version"""

    fault: str = ""
    """What is wrong, naming the file; empty where all is well."""

    repair: str = ""


def look_at_outputs(root: Path) -> Iterator[Look]:
    """Yield a look at every output that dvc.lock records, and at every object of the cache behind one."""
    root = root.resolve()
    with open_repo(root) as repo:
        cache = Path(repo.cache.local.path)
        outs = [(Path(out.fs_path), out.hash_info.value, out.use_cache, _is_source(out)) for out in repo.index.outs]
    if not (root / "dvc.lock").exists() and any(path.exists() for path, _, _, source in outs if not source):
        yield Look("output", f"{root / 'dvc.lock'}: is missing, so what stages wrote cannot be checked",
                   "git checkout dvc.lock, or trunkline run")  # fmt: skip
    for path, name, cached, source in outs:
        if name is None:
            continue  # never run
        try:
            files = _files(path, name, cache)
        except ArtifactError as fault:
            yield Look("object", str(fault))
            continue
        if not source:  # the user's files may change; the next run takes them in
            yield from (_look("output", file, wanted, "trunkline run") for file, wanted in files.items())
        for wanted in dict.fromkeys(files.values()) if cached else ():
            place = object_path(cache, wanted)
            yield _look("object", place, wanted, f"rm -f {place}; then `dvc pull` or `dvc commit`")


def _is_source(out: Any) -> bool:
    return bool(out.stage.is_data_source)


def _files(path: Path, name: str, cache: Path) -> dict[Path, str]:
    """Return the files behind an output with the hash that each had."""
    if not name.endswith(FOLDER):
        return {path: name}
    return {path / within: wanted for within, wanted in listed(cache, name).items()}


def _look(what: str, path: Path, wanted: str, repair: str) -> Look:
    if not path.is_file():
        return Look(what, f"{path}: is missing", repair)
    found = md5(path)
    if found != wanted:
        return Look(what, f"{path}: is not what was written (its content hashes to {found}, not {wanted})", repair)
    return Look(what)


def look_at_models(root: Path) -> Iterator[Look]:
    """Yield a look at every published version, and at every alias."""
    folder = root.resolve() / REGISTRY
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir():
            yield from _of_registry(Registry(root.resolve(), path.name))


def _of_registry(registry: Registry) -> Iterator[Look]:
    versions = registry.versions()
    for version in versions:
        try:
            registry.check(version)
            registry.entry(version)
            yield Look("version")
        except ArtifactError as fault:
            yield Look("version", str(fault).splitlines()[0], "trunkline rollback, or promote another version")
    try:
        aliases = registry.aliases()
    except ArtifactError as fault:
        yield Look("version", str(fault))
        return
    for name, version in aliases.items():
        if version not in versions:
            said = f"{registry.path(version)}: is missing, but alias '{name}' points to it"
            yield Look("version", said, "trunkline promote another version")
