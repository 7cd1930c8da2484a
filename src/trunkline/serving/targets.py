"""Where predictions go: Parquet or CSV, by the name of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from trunkline.errors import ParamsError

FORMULA = r"^[=+\-@\t\r]"
PLAIN_NUMBER = r"^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$"


class Target(Protocol):
    """A file that takes tables, one after the other."""

    def write(self, table: Any) -> None:
        """Append the rows of `table`."""

    def close(self) -> None:
        """Finish the file."""


class ParquetTarget:
    """A Parquet file with one row group per table."""

    def __init__(self, path: Path, schema: Any, text: list[str]) -> None:
        self.writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, table: Any) -> None:
        """Append the rows of `table` as one row group."""
        self.writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        """Write the footer."""
        self.writer.close()


class CsvTarget:
    """A CSV file that no spreadsheet takes for a program.

    Args:
        path: The file.
        schema: Columns of the tables to come.
        text: Columns that come from outside; a cell of theirs that a spreadsheet would run gets a ' in front.
    """

    def __init__(self, path: Path, schema: Any, text: list[str]) -> None:
        self.schema = pa.schema([pa.field(field.name, _type_in_csv(field)) for field in schema])
        self.text = [name for name in text if pa.types.is_string(self.schema.field(name).type)]
        self.writer = pv.CSVWriter(path, self.schema)

    def write(self, table: Any) -> None:
        """Append the rows of `table`."""
        table = table.cast(self.schema)
        for name in self.text:
            table = table.set_column(table.schema.get_field_index(name), name, harmless(table.column(name)))
        self.writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


TARGETS: dict[str, type[ParquetTarget] | type[CsvTarget]] = {".parquet": ParquetTarget, ".csv": CsvTarget}


def target_kind(path: Path) -> type[ParquetTarget] | type[CsvTarget]:
    """Return the kind of file that `path` names.

    Raises:
        ParamsError: Neither .parquet nor .csv.
    """
    kind = TARGETS.get(path.suffix.lower())
    if kind is None:
        raise ParamsError(f"{path}: ends in '{path.suffix}'; predictions are written to .parquet or .csv")
    return kind


def harmless(cells: Any) -> Any:
    """Put a ' before text that a spreadsheet would run; numbers such as -5 stay."""
    runs = pc.and_not(pc.match_substring_regex(cells, FORMULA), pc.match_substring_regex(cells, PLAIN_NUMBER))
    return pc.if_else(runs, pc.binary_join_element_wise("'", cells, ""), cells)


def _type_in_csv(field: Any) -> Any:
    """The type under which CSV takes a column: text of any form as plain text."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_nested(kind):
        raise ParamsError(f"key column '{field.name}': holds {kind}, which CSV cannot; write to .parquet")
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    return kind
