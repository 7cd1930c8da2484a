"""The person's files as one table of columns that are understood, read by the reader that ingest uses.

Of large files only the first rows are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from trunkline.data.conversion import TEXT, convert, family
from trunkline.data.reader import is_parquet, read_head, read_schema, read_table
from trunkline.declared import did_you_mean
from trunkline.errors import ParamsError
from trunkline.guess.held import NO_LABEL, Held

MOST_ROWS = 100_000  # of all files together
FEWEST_ROWS = 1_000  # of each file


class Table(NamedTuple):
    """The rows that were looked at.

    Attributes:
        files: Where they were read.
        columns: What they hold, by name, in the order of the first file.
        nested: Columns that hold no plain values, and their type.
        rows: How many were looked at.
        total: How many the files have; None where that is not known.
        null_values: Texts that mean "no value".
    """

    files: Sequence[Path]
    columns: dict[str, Held]
    nested: dict[str, str]
    rows: int
    total: int | None
    null_values: list[str]

    @property
    def names(self) -> list[str]:
        """Every column's name."""
        return [*self.columns, *self.nested]

    @property
    def is_whole(self) -> bool:
        """Whether every row was looked at."""
        return self.rows == self.total


def read_files(files: Sequence[Path]) -> Table:
    """Read the first rows of some files of one form.

    Raises:
        ParamsError: They have different columns.
        DataError: One is broken, no table, or without rows.
        EnvironmentFault: One may not be read.
    """
    _refuse_other_columns(files)
    share = max(FEWEST_ROWS, MOST_ROWS // len(files))
    heads = [read_head(path, [""], share) for path in files]
    totals = [total for _, total in heads]
    tables = [table for table, _ in heads]
    columns, nested = {}, {}
    for name in tables[0].column_names:
        kinds = [table[name].type for table in tables]
        foreign = [kind for kind in kinds if family(kind) is None]
        if foreign:
            nested[name] = str(foreign[0])
        else:
            columns[name] = Held(name, _together([table[name] for table in tables], name))
    table = Table(
        files, columns, nested, sum(map(len, tables)), sum(t or 0 for t in totals) if None not in totals else None, [""]
    )
    return table if all(map(is_parquet, files)) else _without_null_words(table)


def read_moments(table: Table, name: str) -> pl.Series:
    """Return a column's moments in all rows, microseconds since 1970; earlier rows may be at the end of the files."""
    if table.is_whole:
        return table.columns[name].values
    parts = [read_table(path, table.null_values, [name])[name] for path in table.files]
    return Held(name, _together(parts, name)).values


def without_label_words(table: Table, targets: Sequence[str]) -> Table:
    """Return the table in which NA is no class of a target: "no value", as it is then everywhere."""
    if all(map(is_parquet, table.files)):
        return table
    found = {word for name in targets for word in table.columns[name].counts if word in NO_LABEL}
    return _with_null_words(table, found) if found else table


def _together(parts: Sequence[pa.ChunkedArray], name: str) -> pa.Array:
    families = {family(part.type) for part in parts} - {pa.null()}
    wanted = families.pop() if len(families) == 1 else TEXT
    return pa.concat_arrays([convert(part, wanted, name) for part in parts])


def _without_null_words(table: Table) -> Table:
    found = {word for held in table.columns.values() for word in held.no_values()}
    return _with_null_words(table, found) if found else table


def _with_null_words(table: Table, words: set[str]) -> Table:
    columns = {name: held.without(words) for name, held in table.columns.items()}
    return table._replace(columns=columns, null_values=[*table.null_values, *sorted(words)])


def _refuse_other_columns(files: Sequence[Path]) -> None:
    first = read_schema(files[0]).names
    for path in files[1:]:
        names = read_schema(path).names
        lacks, extra = [n for n in first if n not in names], [n for n in names if n not in first]
        if lacks or extra:
            parts = [f"lacks {_listed(lacks)}"] * bool(lacks) + [f"holds {_listed(extra)} besides"] * bool(extra)
            near = did_you_mean(lacks[0], extra) if lacks and extra else ""
            raise ParamsError(
                f"{path}: {' and '.join(parts)}, unlike {files[0]}{near}; give every file the same columns, "
                f"or begin with one"
            )


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
