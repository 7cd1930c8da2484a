"""`trunkline drift`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import DataError, ParamsError

if TYPE_CHECKING:
    from trunkline.monitoring.declarations import DriftWatch
    from trunkline.serving.session import Model

SHOWN = 10  # entries without drift that are shown


def drift(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL", help="model.onnx with card and reference beside it. Default: the one in service."
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Argument(
            metavar="ROWS",
            help="Parquet or CSV file of new rows, or a folder of them. Default: this project's newest drops.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Hold new rows against the rows a model was trained on: columns, predictions, and labels where they are there."""
    from trunkline.files import to_json

    root = _project(required=model is None or rows is None)
    found = _found(root, model, rows)
    if as_json:
        print(json.dumps(json.loads(to_json(found))))
    else:
        print(*_lines(found), sep="\n")
    return 0


def _project(*, required: bool) -> Path | None:
    try:
        return find_project()
    except ParamsError:
        if required:
            raise
        return None


def _found(root: Path | None, model: Path | None, rows: Path | None) -> dict[str, Any]:
    from trunkline.monitoring.declarations import DriftWatch
    from trunkline.monitoring.in_use import model_in_service
    from trunkline.monitoring.new_rows import columns_read, drift_of
    from trunkline.monitoring.reference import read_reference
    from trunkline.project import load_project
    from trunkline.serving.session import open_model
    from trunkline.serving.sources import open_source

    project = load_project(root) if root else None
    watch, seed = (project.drift, project.seed) if project else (DriftWatch(), 0)
    path = model or model_in_service(root or Path(), project.export.name if project else "")
    opened = open_model(path)
    reference = read_reference(path, opened.card)
    if rows is None:
        assert root is not None
        names = _newest(root, watch)
        columns = columns_read(opened, reference, _columns(root))
        of_drops = drift_of(opened, reference, _tables(root, names, columns), [], watch, seed)
        of_drops["newest"]["drops"] = names
        return of_drops | _service(root)
    source = open_source(rows, opened.card.get("null_values", []))
    try:
        columns = _present(columns_read(opened, reference, source.schema.names), source.schema, opened)
        return drift_of(opened, reference, source.tables(columns), source.null_values, watch, seed)
    except DataError as fault:
        raise DataError(f"{rows}: {fault}") from None


def _present(columns: list[str], schema: Any, model: Model) -> list[str]:
    """Return `columns` after demanding that every input is there, with the words of the feed builder."""
    from trunkline.serving.feeds import build_feeds

    build_feeds(schema.empty_table(), model.inputs)
    return columns


def _columns(root: Path) -> list[str]:
    from trunkline.data.rows import open_rows
    from trunkline.stages import VALIDATED

    return list(open_rows(root / VALIDATED).schema_arrow.names)


def _newest(root: Path, watch: DriftWatch) -> list[str]:
    from trunkline.data.rows import open_rows
    from trunkline.stages import VALIDATED

    drops = open_rows(root / VALIDATED).read(["drop"])["drop"].unique().to_pylist()
    return sorted(drops)[-watch.drops :]


def _tables(root: Path, drops: list[str], columns: list[str]) -> Iterator[Any]:
    """Yield the rows of some drops of data/validated/; each has a row group of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trunkline.data.rows import open_rows
    from trunkline.stages import VALIDATED

    rows = open_rows(root / VALIDATED)
    for group in range(rows.num_row_groups):
        table = rows.read_row_group(group, [*columns, "drop"])
        chosen = table.filter(pc.is_in(table["drop"], pa.array(drops)))
        if len(chosen):
            yield chosen.drop_columns(["drop"])


def _service(root: Path) -> dict[str, Any]:
    from trunkline.files import read_json
    from trunkline.monitoring.floors import IN_SERVICE

    return {"in_service": read_json(root / IN_SERVICE)} if (root / IN_SERVICE).exists() else {}


def _lines(found: dict[str, Any]) -> Iterator[str]:
    from trunkline.monitoring.compare import said

    newest, drifted = found["newest"], [entry for entry in found["found"] if entry["drifted"]]
    of = f" of {', '.join(newest['drops'])}" if newest.get("drops") else ""
    yield f"{newest['rows']} new rows{of} against {found['training_rows']} training rows"
    yield from (said(entry) for entry in drifted)
    if newest["rows"] and not drifted:
        yield "nothing drifted beyond its limit"
    others = [entry for entry in found["found"] if not entry["drifted"]][:SHOWN]
    if others:
        yield "nearest to their limits (1 = at the limit):"
    for entry in others:
        note = " (allowed)" if entry["allowed"] else ""
        yield f"  {entry['severity']:.2f}  {entry['of']} {entry['name']}{note}"
    yield from (f"in service: {line}" for line in found.get("in_service", {}).get("says", []))
