"""What may be removed: old versions, work of ended runs, and objects of DVC's cache that nothing refers to any more.

Kept are: the newest versions and those that an alias names; checkpoints and groupings that are younger than the last
finished run (an interrupted training goes on from them); of DVC's cache what the working tree, the last revisions
behind HEAD, the tip of every branch, every tag and every kept version refer to. A cache that lies outside the project
may serve others and is left alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.errors import ArtifactError
from trunkline.pipeline.dvc_cache import FOLDER, object_path, objects, referenced
from trunkline.pipeline.dvc_repo import open_repo
from trunkline.pipeline.record import RUNS, revision
from trunkline.pipeline.release import track
from trunkline.registry import Registry
from trunkline.registry.store import REGISTRY

WORK = (Path(".trunkline/checkpoints"), Path(".trunkline/groups"))
LOCK = "dvc.lock"


class Unused(NamedTuple):
    """Something that may be removed."""

    what: str
    """version | work | object"""

    path: Path
    bytes: int


def find_unused(root: Path, keep: int) -> list[Unused]:
    """Return what may be removed, in the order in which it may be.

    Args:
        root: The project's folder; the caller holds its lock.
        keep: Versions of each model, and revisions of git, that are kept; 1 at least.

    Raises:
        ParamsError: A revision's dvc.yaml or dvc.lock cannot be read; nothing can be said then.
        ArtifactError: The registry or the cache is damaged, or of a folder in use it is not known what is in it.
    """
    root = root.resolve()
    old = [*_versions(root, keep)]
    return [*old, *_work(root), *_objects(root, keep, {each.path for each in old})]


def remove(root: Path, found: list[Unused]) -> None:
    """Remove what `find_unused` found, while the same lock is held."""
    for each in found:
        if each.what == "version":
            registry = _registry(each.path.parent)
            registry.sweep()
            registry.remove(int(each.path.name))
        elif each.path.is_dir():
            shutil.rmtree(each.path)
        else:
            each.path.unlink()
    if any(each.what == "version" for each in found):
        track(root)


def _registry(folder: Path) -> Registry:
    return Registry(folder.parents[2], folder.name)


def _registries(root: Path) -> list[Registry]:
    folder = root / REGISTRY
    return [_registry(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _versions(root: Path, keep: int) -> Iterator[Unused]:
    for registry in _registries(root):
        versions, named = registry.versions(), set(registry.aliases().values())
        for version in versions[:-keep]:
            if version not in named:
                yield Unused("version", registry.path(version), _size(registry.path(version)))


def _work(root: Path) -> Iterator[Unused]:
    ended = max((path.stat().st_mtime for path in (root / RUNS).glob("*.json")), default=0.0)
    for place in WORK:
        for folder in sorted((root / place).iterdir()) if (root / place).is_dir() else ():
            if _touched(folder) < ended and _size(folder):
                yield Unused("work", folder, _size(folder))


def _objects(root: Path, keep: int, gone: set[Path]) -> Iterator[Unused]:
    with open_repo(root) as repo:
        caches = [Path(cache.path) for name in ("local", "legacy") if (cache := getattr(repo.cache, name, None))]
        inside = [cache for cache in caches if cache.resolve().is_relative_to(root)]
        used = _used(repo, revision(root) is not None, keep) if inside else set()
    locks = [root / LOCK, *(path for path in (root / REGISTRY).glob(f"*/*/{LOCK}") if path.parent not in gone)]
    for cache in inside:
        used |= {name for lock in locks if lock.is_file() for name in referenced(lock, cache)}
    for cache in inside:
        yield from (Unused("object", path, path.stat().st_size) for name, path in objects(cache) if name not in used)


def _used(repo: Any, versioned: bool, keep: int) -> set[str]:
    """Return the hashes that working tree and git refer to; of what others pushed, this cache may hold nothing."""
    asked: list[dict[str, Any]] = [{}]
    if versioned:
        asked = [{"revs": ["HEAD"], "num": keep}, {"all_branches": True, "all_tags": True, "all_experiments": True}]
    _demand_lists(repo, asked[0] and {"revs": ["HEAD"]})
    found = [objs for words in asked for objs in repo.used_objs(**words, force=True).values()]
    return {str(each.value) for objs in found for each in objs}


def _demand_lists(repo: Any, words: dict[str, Any]) -> None:
    """Demand that of every folder of the working tree and of HEAD it is known which files are in it."""
    for revision_name in repo.brancher(**words):
        for out in repo.index.outs:
            name = out.hash_info.value if out.use_cache and out.hash_info else None
            if name and name.endswith(FOLDER) and not object_path(Path(out.cache.path), name).exists():
                where = revision_name or "working tree"
                raise ArtifactError(
                    f"{out}: DVC's cache does not hold the list of its files ({where}), so nothing is removed that may "
                    f"be one of them; `trunkline run` and commit dvc.lock, or `dvc pull`"
                )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _touched(folder: Path) -> float:
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
