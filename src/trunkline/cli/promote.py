"""`trunkline promote` and `trunkline rollback`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import GateError, ParamsError

if TYPE_CHECKING:
    from trunkline.registry.promote import Decision


def promote(
    version: Annotated[
        int | None,
        typer.Argument(metavar="VERSION", help="As `trunkline versions` lists it. Default: models/export, published."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever speaks against it; needs --because.")] = False,
    because: Annotated[str | None, typer.Option(metavar="WHY", help="The reason for --force; it is kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Put a model into service if no task gets worse than it may; exit code 6 and the reason if not."""
    from trunkline.pipeline.release import release

    if force != bool(because):
        raise ParamsError('promote: --force and --because go together: trunkline promote 4 --force --because "..."')
    return show(release(find_project(), version, because), as_json)


def rollback(
    because: Annotated[str, typer.Option(metavar="WHY", help="The reason; it is kept.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Put the model back into service that was there before. The one taken back returns by force only."""
    from trunkline.pipeline.release import take_back

    return show(take_back(find_project(), because), as_json)


def show(decision: Decision, as_json: bool) -> int:
    """Print a decision.

    Returns:
        The exit code: 0 where the version is in service, else 6.
    """
    from trunkline.cli.promotion import decision_lines

    print(json.dumps(decision.as_json()) if as_json else "\n".join(decision_lines(decision)).lstrip("\n"))
    return 0 if decision.promoted else GateError.code
