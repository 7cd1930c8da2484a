"""Re-hashes what DVC and the stages wrote. DVC itself restores a damaged object without a word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from trunkline.cli.health import Finding
from trunkline.errors import ArtifactError
from trunkline.files import MANIFEST, check_seal
from trunkline.pipeline.artifacts import Look
from trunkline.registry.store import REGISTRY

OUTPUT_FOLDERS = ("data", "models", "reports")


def look_at_artifacts(root: Path) -> Iterator[Finding]:
    """Yield a finding for every damaged object of DVC's cache and every broken seal, or one that all is well."""
    from trunkline.pipeline.dvc_repo import open_repo

    with open_repo(root.resolve()) as repo:
        objects = Path(repo.cache.local.path).resolve()
    yield from _all_or("cache", "objects of DVC's cache", [*_objects(objects)])
    yield from _all_or("seals", "sealed folders", [*_seals(root)])


def _all_or(what: str, things: str, looks: list[Finding | None]) -> Iterator[Finding]:
    faults = [look for look in looks if look]
    yield from faults or [Finding("ok", what, f"{len(looks)} {things} are as they were written")]


def _objects(folder: Path) -> Iterator[Finding | None]:
    """Yield per object None, or what is wrong with it."""
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        name = path.parent.name + path.name.removesuffix(".dir")
        with open(path, "rb") as content:
            found = hashlib.file_digest(content, "md5").hexdigest()
        if found == name:
            yield None
        else:
            said = f"{path}: is damaged (its content hashes to {found})"
            yield Finding("fault", "cache", said, f"rm -f {path}; then trunkline run", ArtifactError.code)


def _seals(root: Path) -> Iterator[Finding | None]:
    for look in look_at_seals(root):
        fault = Finding("fault", "seals", look.fault, look.repair, ArtifactError.code)
        yield fault if look.fault else None


def look_at_seals(root: Path) -> Iterator[Look]:
    """Yield a look at every sealed folder that stages wrote; those of published models are looked at by themselves."""
    for manifest in sorted(path for top in OUTPUT_FOLDERS for path in (root / top).rglob(MANIFEST)):
        if manifest.is_relative_to(root / REGISTRY):
            continue
        try:
            check_seal(manifest.parent)
            yield Look("seal")
        except ArtifactError as fault:
            yield Look("seal", str(fault).splitlines()[0], f"rm -rf {manifest.parent}; then trunkline run")
