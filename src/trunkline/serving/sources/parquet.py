"""Rows of a Parquet file, with the types it gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trunkline.serving.sources.base import GROUP, in_groups, refusing

MAGIC = b"PAR1"
READ_AHEAD = 1 << 16  # bytes buffered per column
OPTIONS: dict[str, Any] = {
    "pre_buffer": False,  # else a whole row group is in memory
    "coerce_int96_timestamp_unit": "us",  # old timestamps as ns would wrap around outside 1677 to 2262
}


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file."""

    path: Path
    schema: Any
    rows: int | None
    null_values: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> ParquetSource:
        """Read the footer."""
        with pq.ParquetFile(path, **OPTIONS) as file:
            return cls(path, file.schema_arrow, file.metadata.num_rows)

    @property
    def parts(self) -> list[ParquetSource]:
        """Itself: it is one file."""
        return [self]

    def tables(self, columns: list[str]) -> Iterator[Any]:
        """Give the named columns as tables of up to 65,536 rows, in the file's order."""
        with (
            refusing(self.path),
            pq.ParquetFile(self.path, **OPTIONS, buffer_size=READ_AHEAD, page_checksum_verification=True) as file,
        ):
            yield from in_groups(file.iter_batches(GROUP, columns=columns, use_threads=False))
