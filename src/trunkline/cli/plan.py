"""`trunkline plan`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trunkline.cli.project_folder import find_project


def plan(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Say which stages a run would run, and why. Runs nothing."""
    from trunkline.pipeline.plan import plan as plan_stages

    planned = plan_stages(find_project())
    if as_json:
        stages = [{"name": each.name, "runs": bool(each.reasons), "reasons": each.reasons} for each in planned]
        print(json.dumps({"stages": stages}))
        return 0
    for each in planned:
        print(f"{each.name:<24} {'would run: ' + '; '.join(each.reasons) if each.reasons else 'up to date'}")
    return 0
