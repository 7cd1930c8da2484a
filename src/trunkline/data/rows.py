"""The table that ingest, validate and split hand on: one Parquet file with a row group per drop.

Pages carry checksums and the same rows give the same bytes. The folder's seal tells whether the file was altered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trunkline import files

ROWS = "rows.parquet"
BUFFER = 65_536  # bytes of a column read at once


@contextlib.contextmanager
def write_rows(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that appends a table to `path` as one row group; the file appears when all went well.

    Raises:
        EnvironmentFault: The disk is full or the folder cannot be written; `path` is as it was.
    """
    with (
        files.atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        yield lambda table: writer.write_table(table.combine_chunks(), row_group_size=max(1, table.num_rows))


def open_rows(folder: Path) -> pq.ParquetFile:
    """Open `folder/rows.parquet` after checking its seal.

    It is read through a small buffer, without reading ahead, which else holds a whole row group in memory.

    Raises:
        ArtifactError: It is missing or was altered since it was written.
    """
    files.check_seal(folder, [ROWS])
    return pq.ParquetFile(folder / ROWS, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True)


def schema_text(schema: pa.Schema) -> dict[str, str]:
    """Give the columns' types by name, for a manifest."""
    return {field.name: str(field.type) for field in schema}
