"""A file of rows, Parquet or CSV by its content, read in pieces that fit in memory."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import DataError
from trunkline.serving.sources.base import Source, refusing
from trunkline.serving.sources.delimited import CsvSource
from trunkline.serving.sources.parquet import MAGIC, ParquetSource


def open_source(path: Path, null_values: list[str]) -> Source:
    """Open a Parquet or CSV file (gzip too) and read its column names.

    Args:
        path: The file; its content decides which of the two it is.
        null_values: Texts that stand for "no value" in CSV, besides the empty one.

    Raises:
        DataError: The file is missing, empty, damaged, or neither of the two.
    """
    with refusing(path):
        if path.is_dir():
            raise DataError(f"{path}: is a folder; give one Parquet or CSV file")
        with path.open("rb") as handle:
            start = handle.read(len(MAGIC))
        if not start:
            raise DataError(f"{path}: is empty; expected rows, or at least a header")
        if start == MAGIC:
            return ParquetSource.open(path)
        if path.suffix.lower() == ".parquet":
            raise DataError(f"{path}: starts with {start!r}, which no Parquet file does; rename it or write it again")
        return CsvSource.open(path, null_values)


__all__ = ["Source", "open_source"]
