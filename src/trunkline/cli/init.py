"""`trunkline init`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ParamsError


def init(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES",
            exists=True,
            dir_okay=False,
            help="Parquet or CSV files of one form. Default: those in data/incoming/.",
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="COLUMN[:KIND]",
            help="What to predict, once per target. KIND: binary, multiclass, count, regression, "
            "or ordinal=low,..,high; left out, the values tell.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="COLUMNS", help="What identifies a row, such as firm,year. Default: found."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Later rows judge. Default: rows chosen by a hash of the key.")
    ] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="COLUMNS", help="No inputs, such as note,photo.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the model. Default: the files'.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace drops and a changed params.yaml; both are kept in .trunkline/.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be decided, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Begin with your own data: look at files, write params.yaml, put the files into data/incoming/."""
    from trunkline.cli.init_lines import decided, next_steps
    from trunkline.guess.draft import Wishes, draft
    from trunkline.guess.place import INCOMING, lying_drops, place, refuse_loss
    from trunkline.guess.written import params_text
    from trunkline.pipeline.lock import hold
    from trunkline.project import parse_project, parse_yaml

    root = find_project()
    paths = list(files or lying_drops(root))
    if not paths:
        raise ParamsError(f"init: name a Parquet or CSV file, or put one into {INCOMING}/ first")
    if not dry_run:
        refuse_loss(root, paths, force=force)
    found = draft(paths, Wishes(targets or [], key or [], time, ignored or [], name))
    text = params_text(found)
    parse_project(parse_yaml(text))
    kept = None
    if not dry_run:
        with hold(root):
            kept = place(root, paths, text)
    if as_json:
        print(json.dumps({**found.as_json(), "written": not dry_run, "replaced": str(kept) if kept else None}))
    else:
        print(*decided(found), *([text] if dry_run else next_steps(found, kept)), sep="\n")
    return 0
