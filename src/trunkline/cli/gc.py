"""`trunkline gc`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.project_folder import find_project

if TYPE_CHECKING:
    from trunkline.pipeline.garbage import Unused

KINDS = {
    "version": "old versions of models",
    "work": "checkpoints and groupings of ended runs",
    "object": "objects of DVC's cache that nothing refers to",
}
MEBIBYTE = 2**20


def gc(
    keep: Annotated[int, typer.Option(min=1, help="Versions, and revisions of git, that are kept.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List with sizes, remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Free the disk of what neither the project, its last revisions, branches and tags nor a kept version need."""
    from trunkline.pipeline.garbage import find_unused, remove
    from trunkline.pipeline.lock import hold

    root = find_project()
    with hold(root):
        found = find_unused(root, keep)
        if not dry_run:
            remove(root, found)
    if as_json:
        listed = [{"what": each.what, "path": _within(root, each), "bytes": each.bytes} for each in found]
        print(json.dumps({"removed": not dry_run, "bytes": sum(each.bytes for each in found), "found": listed}))
    else:
        _show(root, found, dry_run)
    return 0


def _within(root: Path, each: Unused) -> str:
    return each.path.relative_to(root.resolve()).as_posix()


def _show(root: Path, found: list[Unused], dry_run: bool) -> None:
    for each in found if dry_run else ():
        print(f"{each.bytes / MEBIBYTE:10.1f} MiB  {_within(root, each)}")
    for what, words in KINDS.items():
        sizes = [each.bytes for each in found if each.what == what]
        print(f"{sum(sizes) / MEBIBYTE:10.1f} MiB  {len(sizes)} {words}")
    total = sum(each.bytes for each in found) / MEBIBYTE
    print(f"{total:10.1f} MiB  " + ("would be freed; run without --dry-run to free it" if dry_run else "freed"))
