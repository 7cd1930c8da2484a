"""`trunkline lineage`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ArtifactError


def lineage(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A version as `trunkline versions` lists it, or a model.onnx.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Print what a model came from, down to the files of data; exit code 4 where a link was altered."""
    from trunkline.pipeline.lineage import find_model, trace
    from trunkline.project import load_project

    root = find_project()
    found = find_model(root, load_project(root).export.name, model)
    links = [*trace(found)]
    if as_json:
        print(json.dumps({"version": found.version, "links": [each._asdict() for each in links]}))
    else:
        width = max(len(each.name) for each in links)
        print(*(f"{each.state:<8} {each.name:<{width}}  {each.found}" for each in links), sep="\n")
    return ArtifactError.code if any(each.state == "altered" for each in links) else 0
