"""Rows of a CSV file, every cell as text: what a cell means is decided by the feed builder, not guessed here.

The delimiter is the one of , ; tab | that cuts the header and the first rows into equally many cells, and most.
A row with too few or too many cells, or a quote that is not closed, refuses the file: rows would be shifted or
lost without a word.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from trunkline.errors import DataError
from trunkline.serving.sources.base import in_groups, refusing
from trunkline.serving.sources.quotes import QuoteCheck

BLOCK = 1 << 20  # bytes parsed at once, and so the longest row; Arrow reads several ahead
SAMPLE = BLOCK  # bytes that tell the delimiter; the header must end within
SAMPLE_ROWS = 20
DELIMITERS = ",;\t|"
GZIP_MAGIC = b"\x1f\x8b"
NO_TEXT = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"ARROW1", b"{", b"[", b"<")  # workbooks, Arrow, JSON, HTML


@dataclass(frozen=True)
class CsvSource:
    """A CSV file, packed with gzip or not."""

    path: Path
    schema: Any
    delimiter: str
    null_values: list[str]
    rows: int | None = None

    @classmethod
    def open(cls, path: Path, null_values: list[str]) -> CsvSource:
        """Read the header."""
        with _unpacked(path) as file:
            sample = file.read(SAMPLE)
        if b"\x00" in sample or sample.startswith(NO_TEXT):
            raise DataError(
                f"{path}: starts with {sample[:8]!r} and is neither Parquet nor CSV in UTF-8; save it as either"
            )
        lines = io.StringIO(sample.decode("utf-8-sig", errors="replace"), newline="").readlines()
        whole = lines if len(sample) < SAMPLE else lines[:-1]
        delimiter = max(DELIMITERS, key=lambda mark: _fit(whole, mark))
        names = next(filter(None, csv.reader(whole, delimiter=delimiter)), [])
        return cls(path, pa.schema([(name, pa.string()) for name in names]), delimiter, null_values)

    @property
    def parts(self) -> list[CsvSource]:
        """Itself: it is one file."""
        return [self]

    def tables(self, columns: list[str]) -> Iterator[Any]:
        """Give the named columns as tables of up to 65,536 rows, in the file's order."""
        with refusing(self.path), _unpacked(self.path) as file:
            text = _Text(file, QuoteCheck(self.path, self.delimiter, BLOCK))
            yield from in_groups(self._parse(text, columns))

    def _parse(self, text: _Text, columns: list[str]) -> Any:
        return pv.open_csv(
            pa.PythonFile(text, mode="r"),
            # One thread, because only then the parser knows the number of a bad row.
            read_options=pv.ReadOptions(use_threads=False, block_size=BLOCK),
            parse_options=pv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
                strings_can_be_null=True,
                null_values=[""],
                check_utf8=False,  # the feed builder refuses the row, not the file
            ),
        )


def without(cells: Any, null_values: list[str]) -> Any:
    """Return a table of text in which the words that stand for "no value" are null."""
    if not null_values:
        return cells
    words = pa.array(null_values, pa.string())
    kept = [pc.if_else(pc.is_in(column, words), None, column) for column in cells.columns]
    return pa.Table.from_arrays(kept, names=cells.schema.names)


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as handle:
        packed = handle.read(2) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb") if packed else path.open("rb"))


def _fit(lines: list[str], delimiter: str) -> tuple[bool, int]:
    """Whether a delimiter cuts the first rows alike, and into how many cells."""
    widths: list[int] = []
    with contextlib.suppress(csv.Error):  # an open quote or a huge cell further down; the rows before it tell enough
        rows = filter(None, csv.reader(lines, delimiter=delimiter))
        widths.extend(len(row) for row in itertools.islice(rows, SAMPLE_ROWS))
    first = widths[0] if widths else 0
    return 1 < first == min(widths) == max(widths), first


class _Text:
    """A file for Arrow to read, whose quotes are checked on the way and whose last line ends."""

    def __init__(self, file: IO[bytes], check: QuoteCheck) -> None:
        self.file, self.check = file, check
        self.ended = False
        self.closed = False

    def read(self, size: int) -> bytes:
        """Return `size` bytes; less, and a newline behind, once the file ends."""
        content = self.file.read(size)
        if len(content) < size and not self.ended:
            self.ended, content = True, content + b"\n"
        self.check(content, last=self.ended)
        return content

    def close(self) -> None:
        """Say that no more will be read; whoever opened the file closes it."""
        self.closed = True
