"""Where a model came from: model, card, settings, data, dvc.lock, revision and drops, each link held against the next.

A published version carries its own params.yaml and dvc.lock. What a link names is looked for in the working tree and in
DVC's cache and hashed again, so that a link says not only what it was but whether it is still there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trunkline.errors import ArtifactError, ParamsError
from trunkline.files import MANIFEST, check_seal, read_json, sha256
from trunkline.pipeline.dvc_cache import listed, object_path, stage_hashes
from trunkline.pipeline.dvc_repo import open_repo
from trunkline.pipeline.record import revision
from trunkline.registry import Registry
from trunkline.registry.store import ENTRY

LOCK = "dvc.lock"
SHORT = 12  # signs of a hash that are shown
# What the card names, by the file whose sha256 it is: folder that a stage wrote, file within.
NAMED = {
    "settings": ("params_sha256", "models/shared", "run.json"),
    "data": ("data_sha256", "data/split", "rows.parquet"),
}


class Link(NamedTuple):
    """One link of the chain."""

    name: str
    state: Literal["ok", "missing", "altered"]
    found: str
    """What it is, and where."""


class Model(NamedTuple):
    """The model asked for: its file, the folder that holds what belongs to it, and its version where it is one."""

    path: Path
    root: Path
    registry: Registry
    version: int | None

    @property
    def folder(self) -> Path:
        """Where params.yaml and dvc.lock of its run lie."""
        return self.root if self.version is None else self.registry.path(self.version)

    @property
    def entry(self) -> dict[str, Any]:
        """What is recorded of the version, empty where it is none."""
        return self.registry.entry(self.version) if self.version is not None else {}


def find_model(root: Path, name: str, word: str) -> Model:
    """Return the model that `word` means: a version's number, or the path of a model.onnx.

    A file that has the bytes of a published model is that version.

    Args:
        root: The project's folder.
        name: The registry's name.
        word: What the user wrote.

    Raises:
        ParamsError: There is no such version and no such file.
    """
    root = root.resolve()
    registry = Registry(root, name)
    if word.isdecimal():
        version = registry.known(int(word))
        return Model(registry.path(version) / "model.onnx", root, registry, version)
    path = Path(word)
    if not path.is_file():
        raise ParamsError(f"{word}: is no file and no version; `trunkline versions` lists those of '{name}'")
    published = {_sealed(registry, version): version for version in registry.versions()}
    return Model(path, root, registry, published.get(sha256(path)))


def _sealed(registry: Registry, version: int) -> str | None:
    try:
        return str(read_json(registry.path(version) / MANIFEST)["files"]["model.onnx"]["sha256"])
    except (ArtifactError, KeyError, TypeError):
        return None


def trace(model: Model) -> Iterator[Link]:
    """Yield the chain from the model to the drops that its data came from."""
    yield _of_model(model)
    card = _json(model.path.with_name("card.json"))
    yield _of_card(model, card)
    with open_repo(model.root) as repo:
        cache = Path(repo.cache.local.path)
    lock = model.folder / LOCK
    written = _written(stage_hashes(lock)) if lock.is_file() else {}
    for name, (key, folder, file) in NAMED.items():
        yield _of_hash(name, model.root / folder / file, (card or {}).get(key), cache, written.get(folder))
    yield from _of_lock(model, lock)
    yield from _of_revision(model)
    yield from _of_drops(model)


def _written(stages: dict[str, dict[str, str]]) -> dict[str, str]:
    return {path: name for outs in stages.values() for path, name in outs.items()}


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_json(path))
    except (ArtifactError, TypeError, ValueError):
        return None


def _of_model(model: Model) -> Link:
    found = f"{model.path} sha256 {sha256(model.path)[:SHORT]}" if model.path.is_file() else str(model.path)
    if model.version is None:
        state: Literal["ok", "missing"] = "ok" if model.path.is_file() else "missing"
        return Link("model", state, f"{found}, not published")
    found = f"{found}, version {model.version} of {model.registry.name}"
    try:
        model.registry.check(model.version)
    except ArtifactError as fault:
        return Link("model", "altered" if model.path.is_file() else "missing", str(fault).splitlines()[0])
    return Link("model", "ok", found)


def _of_card(model: Model, card: dict[str, Any] | None) -> Link:
    path = model.path.with_name("card.json")
    if card is None:
        return Link("card", "missing", f"{path}: is missing or unreadable, so data and settings are not known")
    origin = model.entry.get("created_from", {})
    strange = [key for key, _, _ in NAMED.values() if key in origin and origin[key] != card.get(key)]
    if not model.path.is_file() or card.get("sha256") != sha256(model.path):
        return Link("card", "altered", f"{path}: describes another model (sha256 {str(card.get('sha256'))[:SHORT]})")
    if strange:
        return Link("card", "altered", f"{path}: its {strange[0]} is not that of {ENTRY}")
    return Link("card", "ok", f"{path}, name {card.get('name')}")


def _of_hash(name: str, path: Path, wanted: str | None, cache: Path, folder: str | None) -> Link:
    """Look for the file that a card names by its sha256: in the working tree, else in DVC's cache."""
    if not wanted:
        return Link(name, "missing", f"the card names no sha256 of {path.name}")
    said = f"{path.parent.name}/{path.name} sha256 {wanted[:SHORT]}"
    if path.is_file() and sha256(path) == wanted:
        return Link(name, "ok", f"{said}, in the working tree")
    try:
        kept = object_path(cache, listed(cache, folder)[path.name]) if folder else None
    except (ArtifactError, KeyError):
        kept = None
    if kept is None or not kept.is_file():
        return Link(name, "missing", f"{said}: neither in the working tree nor in DVC's cache")
    if sha256(kept) != wanted:
        return Link(name, "altered", f"{said}: {kept} has other bytes")
    return Link(name, "ok", f"{said}, in DVC's cache")


def _of_lock(model: Model, lock: Path) -> Iterator[Link]:
    wanted = model.entry.get("created_from", {}).get("dvc_lock_sha256")
    if not lock.is_file():
        yield Link("dvc.lock", "missing", f"{lock}: is missing, so what the stages wrote is not known")
        return
    state: Literal["ok", "altered"] = "ok" if wanted in (None, sha256(lock)) else "altered"
    yield Link("dvc.lock", state, f"{lock} sha256 {sha256(lock)[:SHORT]}")
    for stage, outs in stage_hashes(lock).items():
        said = ", ".join(f"{path} {name[:SHORT]}" for path, name in outs.items())
        yield Link(f"  {stage}", state, said or "writes nothing")


def _of_revision(model: Model) -> Iterator[Link]:
    origin = model.entry.get("created_from")
    now = revision(model.root)
    commit = origin["revision"] if origin else (now or "").rstrip("+") or None
    dirty = origin["dirty"] if origin else bool(now and now.endswith("+"))
    if commit is None:
        yield Link("revision", "missing", "it was made outside git")
    elif _git(model.root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        yield Link("revision", "missing", f"{commit}: is not in this repository")
    else:
        yield Link("revision", "ok", commit + _apart(model, commit, dirty))


def _apart(model: Model, commit: str, dirty: bool) -> str:
    """Say where the run and the revision differ."""
    committed = _git(model.root, "show", f"{commit}:./{LOCK}")
    lock = model.folder / LOCK
    if lock.is_file() and committed != lock.read_bytes():
        return f", whose {LOCK} is another one: it was committed later, or never"
    return ", with changes that were not committed" if dirty else ""


def _git(root: Path, *words: str) -> bytes | None:
    command = ["git", "-C", str(root), *words]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return None if answer.returncode else answer.stdout


def _of_drops(model: Model) -> Iterator[Link]:
    drops = model.entry["created_from"]["drops"] if model.version is not None else _drops(model.root)
    if not drops:
        yield Link("drops", "missing", "which files the data came from is not recorded")
    for drop in drops:
        path = model.root / "data/incoming" / drop["name"]
        said = f"{drop['name']}, {drop['rows']} rows, sha256 {str(drop['sha256'])[:SHORT]}"
        if not path.is_file():
            yield Link("drop", "missing", f"{said}: no longer in data/incoming")
        else:
            yield Link("drop", "ok" if sha256(path) == drop["sha256"] else "altered", said)


def _drops(root: Path) -> list[dict[str, Any]]:
    try:
        return list(check_seal(root / "data/raw").get("drops", []))
    except ArtifactError:
        return []
