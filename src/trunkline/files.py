"""Files that are whole or absent, and seals that tell when one was altered.

Everything is written to a temporary file beside its place, flushed to the disk and renamed. A seal
(`manifest.json`) lists sha256 and bytes of each file of a folder; whoever reads the folder checks it first,
because neither DVC nor any file format used here notices a flipped bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from trunkline.errors import ArtifactError, EnvironmentFault

MANIFEST = "manifest.json"
NO_ROWS = ("README.md",)
UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
"""How names end under which programs keep a file that they are still writing."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes `path`'s place in one step.

    Raises:
        EnvironmentFault: The disk is full or the folder cannot be written; `path` is as it was.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as fault:
        if fault.filename is not None and str(fault.filename) not in {str(path), str(temporary), str(path.parent)}:
            raise
        raise EnvironmentFault(
            f"{path}: cannot be written ({fault.strerror or fault}); free space or fix the permission, then run again"
        ) from fault
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, wholly or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, wholly or not at all."""
    write_bytes(path, text.encode())


def to_json(value: object) -> str:
    """Return `value` as stable, readable JSON: numpy scalars become numbers, NaN becomes null."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def write_json(path: Path, value: object) -> None:
    """Write `value` as stable JSON to `path`, wholly or not at all."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Read JSON that a stage wrote.

    Raises:
        ArtifactError: The file is missing or no longer JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise ArtifactError(f"{path}: is missing; run `trunkline run` to make it") from fault
    except (ValueError, UnicodeDecodeError) as fault:
        raise ArtifactError(f"{path}: is not readable JSON ({fault}); delete it and run `trunkline run`") from fault


def read_text(path: Path) -> str:
    """Read UTF-8 text that a stage wrote.

    Raises:
        ArtifactError: The file is missing.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        raise ArtifactError(f"{path}: is missing; run `trunkline run` to make it") from fault


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal(folder: Path, names: Iterable[str], **facts: object) -> None:
    """Write `folder/manifest.json`: sha256 and bytes of each named file, plus `facts` (rows, schema...).

    What a writer that was killed left half-written in the folder is removed.
    """
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    files = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    write_json(folder / MANIFEST, {"version": 1, "files": files, **facts})


def check_seal(folder: Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Check the named files of `folder` (all, where none is named) against its seal.

    Returns:
        The manifest.

    Raises:
        ArtifactError: A file is missing or its bytes are not those that were sealed.
    """
    manifest = cast("dict[str, Any]", read_json(folder / MANIFEST))
    for name in manifest["files"] if names is None else names:
        path, sealed = folder / name, manifest["files"].get(name)
        if sealed is None:
            raise ArtifactError(f"{path}: is not named in {folder / MANIFEST}; run `trunkline run` to make it again")
        if not path.exists():
            raise ArtifactError(f"{path}: is missing; run `trunkline run` to make it again")
        if path.stat().st_size != sealed["bytes"] or sha256(path) != sealed["sha256"]:
            raise ArtifactError(
                f"{path}: was altered after it was written (sha256 differs from {folder / MANIFEST}).\n"
                f"  Delete it and its copy in .dvc/cache (`trunkline doctor` names it), then run `trunkline run`"
            )
    return manifest


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder that users fill, by name; hidden and unfinished ones and README.md hold no rows."""
    places = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in places if may_hold_rows(path)), key=lambda path: path.name)


def may_hold_rows(path: Path) -> bool:
    """Return whether a file in such a folder is taken for one of rows, by its name."""
    return not path.name.startswith(".") and path.suffix not in UNFINISHED and path.name not in NO_ROWS
