"""`trunkline schema`"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md instead: a table of every setting, to be read.")
    ] = False,
) -> int:
    """Print the JSON Schema of params.yaml, for editors that complete and check while you type."""
    from trunkline.cli.settings_page import settings_page
    from trunkline.project import Project

    print(settings_page() if markdown else json.dumps(Project.model_json_schema(), indent=1))
    return 0
