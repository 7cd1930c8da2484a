"""Files of rows, Parquet or CSV by their content, read in pieces that fit in memory."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import DataError
from trunkline.files import files_of
from trunkline.serving.sources.base import Source, refusing
from trunkline.serving.sources.delimited import CsvSource
from trunkline.serving.sources.folder import FolderSource
from trunkline.serving.sources.parquet import MAGIC, ParquetSource


def open_source(path: Path, null_values: list[str]) -> Source:
    """Open a Parquet or CSV file (gzip too), or a folder of such files, and read the column names.

    Args:
        path: The file; its content decides which of the two it is. Or the folder, whose files are read by name.
        null_values: Texts that stand for "no value" in CSV, besides the empty one.

    Raises:
        DataError: The file is missing, empty, damaged, or neither of the two; or the folder's files do not fit.
    """
    with refusing(path):
        if path.is_dir():
            return FolderSource.of(path, [open_source(file, null_values) for file in files_of(path)])
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
