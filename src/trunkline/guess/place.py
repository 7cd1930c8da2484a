"""A draft into a project: its files into data/incoming/, its params.yaml over the old one; nothing is lost."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trunkline.errors import ParamsError
from trunkline.files import atomic_path, may_hold_rows, write_text
from trunkline.project import PARAMS

INCOMING = Path("data/incoming")
REPLACED = Path(".trunkline/replaced")
MODIFIED = "has changes that are not in git"


def lying_drops(root: Path) -> list[Path]:
    """Return what a run would read of data/incoming/, in the order of names; nothing where nothing lies there."""
    places = (root / INCOMING).iterdir() if (root / INCOMING).is_dir() else ()
    return sorted(path for path in places if may_hold_rows(path))


def refuse_loss(root: Path, files: Sequence[Path], *, force: bool) -> None:
    """Demand that the files can be drops, and without `force` that nothing of the person's is replaced.

    Raises:
        ParamsError: Two files of one name, a name that ingest passes over, other drops, or an uncommitted params.yaml.
    """
    twice = [name for name, count in Counter(path.name for path in files).items() if count > 1]
    if twice:
        raise ParamsError(f"init: two files are called '{twice[0]}', and each is a drop of its own; rename one")
    for path in files:
        if not may_hold_rows(path) or not path.name.isprintable():
            raise ParamsError(f"{path}: ingest passes over files of such a name; rename it")
    if force:
        return
    if others := _others(root, files):
        raise ParamsError(
            f"{INCOMING}/: {_counted(len(others))} there already, such as {others[0].name}, and a run reads them all; "
            f"move them away, or add --force, which moves them to {REPLACED}/"
        )
    if (root / PARAMS).exists() and (why := _not_in_git(root)):
        raise ParamsError(
            f"{PARAMS}: {why}; commit it, or add --force, which keeps the old one in {REPLACED}/; --dry-run only shows"
        )


def place(root: Path, files: Sequence[Path], text: str) -> Path | None:
    """Put the files and params.yaml in their places, params.yaml last.

    Args:
        root: The project's folder.
        files: The drops.
        text: Of params.yaml.

    Returns:
        The folder that holds what was replaced; None where nothing was that git does not have.
    """
    others = _others(root, files)
    modified = (root / PARAMS).exists() and _not_in_git(root)
    kept = _free_folder(root) if others or modified else None
    if kept:
        kept.mkdir(parents=True)
        for path in others:
            shutil.move(path, kept / path.name)
        if modified:
            shutil.copy2(root / PARAMS, kept / PARAMS)
    for path in files:
        target = root / INCOMING / path.name
        if not _same(path, target):
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
    write_text(root / PARAMS, text)
    return kept.relative_to(root) if kept else None


def _others(root: Path, files: Sequence[Path]) -> list[Path]:
    """Return the drops that lie there and are none of the files."""
    mine = {path.name: path for path in files}
    return [there for there in lying_drops(root) if there.name not in mine or not _same(mine[there.name], there)]


def _same(path: Path, target: Path) -> bool:
    if not target.is_file():
        return False
    return path.samefile(target) or filecmp.cmp(path, target, shallow=False)


def _counted(files: int) -> str:
    return "1 other file lies" if files == 1 else f"{files} other files lie"


def _not_in_git(root: Path) -> str:
    """Return why the state of params.yaml is not in git; "" where it is."""
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain", "--ignored", "--", PARAMS], cwd=root, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "is there already, and no git is installed that holds it"
    if done.returncode:
        return "is there already, and this folder is in no git repository"
    return MODIFIED if done.stdout.strip() else ""


def _free_folder(root: Path) -> Path:
    number = 1
    while (folder := root / REPLACED / str(number)).exists():
        number += 1
    return folder
