"""`trunkline verify`"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ArtifactError

if TYPE_CHECKING:
    from trunkline.pipeline.artifacts import Look

KINDS = {
    "output": "files that stages wrote",
    "object": "objects of DVC's cache behind them",
    "seal": "sealed folders",
    "version": "versions of models",
}


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Hash every artifact again: outputs, seals, DVC's cache, models. Exit code 4 names each file that was altered."""
    from trunkline.pipeline.lock import undisturbed

    root = find_project()
    looks = undisturbed(root, lambda: _look(root), lambda looks: any(look.fault for look in looks))
    faults = [look for look in looks if look.fault]
    if as_json:
        print(json.dumps({"ok": not faults, "looked_at": len(looks), "faults": [each._asdict() for each in faults]}))
    else:
        _show(looks, faults)
    return ArtifactError.code if faults else 0


def _look(root: Path) -> list[Look]:
    from trunkline.cli.cache_health import look_at_seals
    from trunkline.pipeline.artifacts import look_at_models, look_at_outputs

    return [*look_at_outputs(root), *look_at_seals(root), *look_at_models(root)]


def _show(looks: list[Look], faults: list[Look]) -> None:
    for each in faults:
        print(each.fault + (f"\n  Repair: {each.repair}" if each.repair else ""))
    whole = Counter(each.what for each in looks if not each.fault)
    for what, words in KINDS.items():
        print(f"{whole[what]:6d} {words} are as they were written")
