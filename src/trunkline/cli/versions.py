"""`trunkline versions`"""

from __future__ import annotations

import json
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ArtifactError

if TYPE_CHECKING:
    from trunkline.registry import Registry

HEAD = ("version", "published", "revision", "alias", "last decision")
INDENT = "    "


def versions(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """List the published models, the newest first: where they came from, and which is in service."""
    from trunkline.project import load_project
    from trunkline.registry import Registry

    root = find_project()
    registry = Registry(root, load_project(root).export.name)
    aliases = registry.aliases()
    found = [_facts(registry, version, aliases) for version in reversed(registry.versions())]
    if as_json:
        print(json.dumps({"name": registry.name, "aliases": aliases, "versions": found}))
    elif found:
        _show(found)
    else:
        print(f"{registry.name}: nothing is published yet; `trunkline promote` publishes models/export")
    return 0


def _facts(registry: Registry, version: int, aliases: dict[str, int]) -> dict[str, Any]:
    named = [name for name, number in aliases.items() if number == version]
    try:
        return {**registry.entry(version), "aliases": named}
    except ArtifactError as fault:
        return {"version": version, "aliases": named, "damaged": str(fault)}


def _show(found: list[dict[str, Any]]) -> None:
    """Print a line per version, and below it why it is what it is, in lines no longer than the terminal."""
    from trunkline.cli.columns import aligned
    from trunkline.cli.verdict import COLUMNS

    width = min(COLUMNS, get_terminal_size((COLUMNS, 0)).columns)
    rows = [_row(facts) for facts in found]
    head, *lines = aligned([HEAD, *(row[:-1] for row in rows)], words=len(HEAD))
    print(head)
    for line, (*_, why) in zip(lines, rows, strict=True):
        reason = wrap(why, width - len(INDENT), break_on_hyphens=False, break_long_words=False)
        print(line, *(INDENT + part for part in reason), sep="\n")


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    version, alias = str(facts["version"]), ", ".join(facts["aliases"]) or "-"
    if "damaged" in facts:
        return version, "-", "-", alias, "damaged", facts["damaged"]
    origin, last = facts["created_from"], facts["promoted"][-1:]
    revision = (origin["revision"] or "-")[:7] + ("+" if origin["dirty"] else "")
    return version, facts["published"], revision, alias, facts["stage"], last[0]["why"] if last else ""
