"""Rows of all files of a folder, one file after the other in the order of their names, as of one file.

The files have the same columns, in any order. A number or text that one file holds in another type than the next is
read as the wider of the two: pandas, for one, writes whole numbers as fractions as soon as one of them is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from trunkline.errors import DataError
from trunkline.serving.sources.base import Source, refusing


@dataclass(frozen=True)
class FilePart:
    """One file of a folder, with the types that all of them share."""

    source: Source
    schema: Any

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @property
    def rows(self) -> int | None:
        """How many rows it has, where the file says so beforehand."""
        return self.source.rows

    @property
    def null_values(self) -> list[str]:
        """Texts that stand for "no value" in it, besides the empty one."""
        return self.source.null_values

    @property
    def parts(self) -> Sequence[Source]:
        """Itself."""
        return [self]

    def tables(self, columns: list[str]) -> Iterator[Any]:
        """Give the named columns as tables of up to 65,536 rows, in the file's order."""
        wanted = pa.schema([self.schema.field(name) for name in columns])
        for table in self.source.tables(columns):
            with refusing(self.path):
                cast = table.select(columns).cast(wanted)
            yield cast


@dataclass(frozen=True)
class FolderSource:
    """The files of a folder."""

    path: Path
    schema: Any
    parts: Sequence[Source]

    @classmethod
    def of(cls, path: Path, files: Sequence[Source]) -> FolderSource:
        """Hold the files' columns against each other.

        Raises:
            DataError: There is no file, one is of another format, or has other columns than the first.
        """
        if not files:
            raise DataError(f"{path}: is a folder without Parquet or CSV files; put some there, or give a file")
        schema = files[0].schema
        for file in files[1:]:
            schema = _joined(schema, file, files[0])
        return cls(path, schema, [FilePart(file, schema) for file in files])

    @property
    def rows(self) -> int | None:
        """How many rows there are, where all files say so beforehand."""
        counts = [part.rows for part in self.parts if part.rows is not None]
        return sum(counts) if len(counts) == len(self.parts) else None

    @property
    def null_values(self) -> list[str]:
        """Texts that stand for "no value", besides the empty one."""
        return self.parts[0].null_values

    def tables(self, columns: list[str]) -> Iterator[Any]:
        """Give the named columns as tables of up to 65,536 rows, file by file."""
        for part in self.parts:
            yield from part.tables(columns)


def _joined(schema: Any, file: Source, first: Source) -> Any:
    if type(file) is not type(first):
        raise DataError(f"{file.path}: is of another format than {first.path.name}; give one folder for each format")
    held, expected = set(file.schema.names), set(schema.names)
    for names, said in ((expected - held, "lacks"), (held - expected, "has besides")):
        if names:
            listed = ", ".join(map(repr, sorted(names)))
            raise DataError(
                f"{file.path}: {said} {listed}; all files of the folder need the columns of {first.path.name}"
            )
    try:
        return pa.unify_schemas([schema, file.schema], promote_options="permissive")
    except pa.ArrowException as fault:
        reason = " ".join(str(fault).split())[:200]
        raise DataError(f"{file.path}: its types do not fit those of the files before ({reason})") from fault
