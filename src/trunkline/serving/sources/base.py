"""What every source of rows has in common."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from trunkline.errors import DataError

GROUP = 65_536  # most rows that are read, and written, at once


class Source(Protocol):
    """A file of rows, or several, whose columns are known and whose rows are still to be read."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def parts(self) -> Sequence[Source]:
        """The files one by one; of a single file itself."""

    @property
    def schema(self) -> Any:
        """Its columns, as an Arrow schema."""

    @property
    def rows(self) -> int | None:
        """How many rows it has, where the file says so beforehand."""

    @property
    def null_values(self) -> list[str]:
        """Texts that stand for "no value" in it, besides the empty one."""

    def tables(self, columns: list[str]) -> Iterator[Any]:
        """Give the named columns as tables of up to 65,536 rows, in the file's order."""


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into a DataError of one line."""
    try:
        yield
    except FileNotFoundError as fault:
        raise DataError(f"{path}: not found; give a Parquet or CSV file") from fault
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise DataError(f"{path}: cannot be read ({reason}); repair the file or write it again") from fault


def in_groups(batches: Iterable[Any]) -> Iterator[Any]:
    """Join and cut record batches to tables of 65,536 rows, the last of them shorter, none empty."""
    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, GROUP - rows)
            waiting.append(part)
            start, rows = start + part.num_rows, rows + part.num_rows
            if rows == GROUP:
                yield pa.Table.from_batches(waiting)
                waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
