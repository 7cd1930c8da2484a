"""`trunkline outcomes`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.project_folder import find_project

if TYPE_CHECKING:
    from trunkline.project import Project


def outcomes(
    kept: Annotated[Path, typer.Argument(metavar="KEPT", help="Folder that `trunkline predict --keep` filled.")],
    labels: Annotated[
        Path | None,
        typer.Argument(
            metavar="LABELS",
            help="Parquet or CSV file, or a folder of them, with the key and the targets. Default: data/validated/.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Join kept predictions with the labels that came later: how each task does in service, drop by drop."""
    from trunkline.files import to_json, write_json
    from trunkline.monitoring.floors import IN_SERVICE
    from trunkline.monitoring.in_service import outcomes as join
    from trunkline.pipeline.lock import undisturbed
    from trunkline.project import load_project
    from trunkline.serving.kept import find_kept
    from trunkline.stages import VALIDATED

    root = find_project()
    project = load_project(root)
    rows = undisturbed(root, lambda: _labels(root, project, labels), lambda _: False)
    where = str(labels or VALIDATED)
    found = join(find_kept(kept), rows, project.data.key, project, project.seed, where)
    write_json(root / IN_SERVICE, found)
    if as_json:
        print(json.dumps(json.loads(to_json(found))))
    else:
        counts = found["kept"]
        print(f"{counts['rows']} kept predictions: {counts['matched']} with a label row, {counts['unmatched']} without")
        print(*found["says"], IN_SERVICE, sep="\n")
    return 0


def _labels(root: Path, project: Project, path: Path | None) -> Any:
    """Return the key and whatever targets there are, as one table."""
    import pyarrow as pa

    from trunkline.data.rows import open_rows
    from trunkline.errors import DataError
    from trunkline.monitoring.followed import followed
    from trunkline.serving.feeds import pick
    from trunkline.serving.sources import open_source
    from trunkline.serving.sources.delimited import without
    from trunkline.stages import VALIDATED

    targets = list(dict.fromkeys(name for each in followed(project.tasks).values() for name in each.label_columns))
    if path is None:
        rows = open_rows(root / VALIDATED)
        return rows.read([*project.data.key, *targets])
    source = open_source(path, project.data.null_values)
    try:
        for name in project.data.key:
            pick(source.schema.empty_table(), name)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
    wanted = list(dict.fromkeys([*project.data.key, *(name for name in targets if name in source.schema.names)]))
    schema = pa.schema([source.schema.field(name) for name in wanted])
    tables = [without(table, source.null_values) for table in source.tables(wanted)]
    return pa.concat_tables([schema.empty_table(), *tables])
