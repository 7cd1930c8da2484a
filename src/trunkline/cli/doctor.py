"""`trunkline doctor`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trunkline.cli.project_folder import find_project


def doctor(
    cache: Annotated[
        bool, typer.Option("--cache", help="Re-hash every object of DVC's cache and every sealed folder too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Look at the machine, the environment and the project; every finding comes with its repair."""
    from trunkline.cli.cache_health import look_at_artifacts
    from trunkline.cli.health import look_at_machine

    root = find_project()
    findings = [*look_at_machine(root), *(look_at_artifacts(root) if cache else ())]
    code = min((each.code for each in findings if each.state == "fault"), default=0)
    if as_json:
        print(json.dumps({"ok": not code, "findings": [each._asdict() for each in findings]}))
        return code
    for each in findings:
        print(f"{each.state:<6} {each.what:<9} {each.found}{'. Repair: ' + each.fix if each.fix else ''}")
    return code
