"""One reader of the user's files: what a file is, its content tells, never its name.

in      Parquet; CSV in UTF-8 (delimiter , ; tab or |, with or without byte order mark); either line end; gzipped CSV
out     a table as the file has it: CSV cells are all text, Parquet columns have the file's types

A file that is broken, of another kind or ambiguous is refused in one line: which file, which row or byte, what to do.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import re
import shlex
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from trunkline.errors import DataError, EnvironmentFault

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_BYTES = 1 << 20  # of a CSV file, for its header and delimiter; a header may not be longer
SNIFFED_ROWS = 20
HEAD_BATCH = 1 << 14  # rows of Parquet read at once, where only the first are wanted
HEAD_BYTES = 1 << 25  # of a CSV file of which only the first rows are wanted
BLOCK_BYTES = 1 << 26  # of a CSV file, parsed at once; a row may not be longer

PARQUET, GZIP, BOM = b"PAR1", b"\x1f\x8b", codecs.BOM_UTF8
FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"BZh91AY&SY", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"%PDF", "a PDF document"),
    *((start, "HTML or XML") for start in (b"<!", b"<?", b"<html", b"<HTML")),
    (b'{"', "JSON"),
    (b"[{", "JSON"),
    *(
        (bytes([0x80, protocol]), "a Python pickle, which is never opened because it can run code")
        for protocol in range(2, 6)
    ),
)
WIDE_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Layout(NamedTuple):
    delimiter: str
    names: list[str]
    start: int  # byte at which the rows begin


def read_schema(path: Path) -> pa.Schema:
    """Give the names and types of a file's columns without reading its rows. Every CSV column is text.

    Raises:
        DataError: The file cannot be a table, or two of its columns have one name.
        EnvironmentFault: The file may not be read.
    """
    if is_parquet(path):
        with _parquet(path) as file:
            schema = file.schema_arrow
    else:
        schema = pa.schema([(name, pa.string()) for name in _layout(path, _content(path, SNIFFED_BYTES)).names])
    _check_names(path, schema.names)
    return schema


def read_table(path: Path, null_values: list[str], columns: Collection[str] | None = None) -> pa.Table:
    """Read a file's rows.

    Args:
        path: A Parquet or CSV file, whatever its name.
        null_values: Texts of a CSV cell that mean "no value". Parquet has its own nulls.
        columns: Read only those of these columns that the file holds. Default: all.

    Returns:
        The rows, columns in the file's order.

    Raises:
        DataError: The file is broken, no table, or without rows.
        EnvironmentFault: The file may not be read.
    """
    names = read_schema(path).names
    wanted = [name for name in names if columns is None or name in columns]
    table = _read_parquet(path, wanted) if is_parquet(path) else _read_csv(path, null_values, wanted)
    if not table.num_rows:
        raise DataError(f"{path}: has column names and no rows; put in a file with rows, or remove it")
    return table


def read_head(path: Path, null_values: list[str], rows: int) -> tuple[pa.Table, int | None]:
    """Read a file's first rows, in memory that does not grow with the file.

    Args:
        path: A Parquet or CSV file, whatever its name.
        null_values: Texts of a CSV cell that mean "no value".
        rows: Most rows to give; of CSV also no more than `HEAD_BYTES` hold.

    Returns:
        The rows, columns in the file's order, and how many the whole file has; None where that is not known.

    Raises:
        DataError: The file is broken, no table, or without rows.
        EnvironmentFault: The file may not be read.
    """
    names = read_schema(path).names
    total: int | None
    if is_parquet(path):
        table, total = _head_of_parquet(path, rows)
    else:
        table = _read_csv(path, null_values, names, HEAD_BYTES)
        total = len(table) if len(_content(path, HEAD_BYTES)) < HEAD_BYTES else None
    if not table.num_rows:
        raise DataError(f"{path}: has column names and no rows; put in a file with rows")
    return table.slice(0, rows), total


def _check_names(path: Path, names: list[str]) -> None:
    blank = [place for place, name in enumerate(names, start=1) if not name.strip()]
    if blank:
        raise DataError(
            f"{path}: column {blank[0]} of {len(names)} has no name; name it, or write the file without it"
            f"{_naming(path) if blank[0] == 1 else ''}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: {len(twice)} column names appear more than once, such as {twice[0]!r}; rename one of them"
        )


def _naming(path: Path) -> str:
    """Return how to name the first column: R and pandas write one without a name for the numbers of rows."""
    with _opened(path) as handle:
        plain = handle.read(3).startswith((b'""', *map(str.encode, DELIMITERS)))
    return f", for example by: sed -i -E '1s/^(\"\")?/row/' {shlex.quote(str(path))}" if plain else ""


# --- what a file is ---------------------------------------------------------------------------------------


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet; else it can only be CSV.

    Raises:
        DataError: The file is empty, or Parquet that is cut off.
        EnvironmentFault: The file may not be read.
    """
    with _opened(path) as handle:
        size = handle.seek(0, io.SEEK_END)
        handle.seek(0)
        head = handle.read(4)
        handle.seek(max(0, size - 4))
        tail = handle.read(4)
    if not size:
        raise DataError(f"{path}: is empty (0 bytes); put in a file with rows, or remove it")
    if head == PARQUET and (tail != PARQUET or size < 12):
        raise DataError(f"{path}: is Parquet cut off after {size} bytes, its end is missing; copy the whole file again")
    if head != PARQUET and tail == PARQUET:
        raise DataError(f"{path}: ends as Parquet but its first bytes are {head!r}; copy the file again")
    return head == PARQUET


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as handle:
            yield handle
    except IsADirectoryError as fault:
        raise DataError(f"{path}: is a folder, not a file; put its files directly into {path.parent}") from fault
    except FileNotFoundError as fault:
        raise DataError(f"{path}: is missing; put it back, or remove the link that points to it") from fault
    except OSError as fault:
        if fault.errno is None:  # a decoder's complaint about the content, not the system's about the file
            raise
        raise EnvironmentFault(f"{path}: cannot be read ({fault.strerror}); fix its permission or the disk") from fault


# --- Parquet ----------------------------------------------------------------------------------------------


def _read_parquet(path: Path, wanted: list[str]) -> pa.Table:
    with _parquet(path) as file:
        # A column "a" is also asked for by what reads "a.b", so choose again by the whole name.
        table = file.read(columns=wanted).select(wanted)
        table.validate(full=True)
        return table


def _head_of_parquet(path: Path, rows: int) -> tuple[pa.Table, int]:
    with _parquet(path) as file:
        batches, wanted = [], rows
        for batch in file.iter_batches(min(rows, HEAD_BATCH)):
            batches.append(batch.slice(0, wanted))
            wanted -= len(batches[-1])
            if not wanted:
                break
        return pa.Table.from_batches(batches, file.schema_arrow), file.metadata.num_rows


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(
            path,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",
            arrow_extensions_enabled=False,
        ) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, MemoryError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise DataError(f"{path}: is corrupt Parquet ({reason}); copy or write the file again") from fault


# --- CSV --------------------------------------------------------------------------------------------------


def _read_csv(path: Path, null_values: list[str], wanted: list[str], limit: int = -1) -> pa.Table:
    content = _content(path, limit)
    if len(content) == limit:
        content = _whole_rows(content)
    layout = _layout(path, content[:SNIFFED_BYTES])
    _check_text(path, content)
    _check_quotes(path, content, layout)
    if layout.start == len(content):
        return pa.table({name: pa.array([], pa.string()) for name in wanted})
    # From the header's line end on, a blank line to the parser: it would take a first cell's U+FEFF for a mark.
    rows = pa.py_buffer(content).slice(layout.start - 1)
    ragged: list[pa.csv.InvalidRow] = []

    def refuse(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(rows),
            # One thread, because only then the parser knows the number of a bad row.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=layout.names),
            parse_options=pa.csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(layout.names, pa.string()),
                include_columns=wanted or layout.names[:1],
                null_values=null_values,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as fault:
        raise _unparsed(path, layout, ragged, fault) from fault
    return table.select(wanted)


def _whole_rows(content: bytes) -> bytes:
    """Leave out the last row, which may be cut off: what stands behind the last line end outside quotes."""
    signs = np.frombuffer(content, dtype=np.uint8)
    quoted = np.logical_xor.accumulate(signs == ord('"'))
    ends = np.flatnonzero((signs == ord("\n")) & ~quoted)
    return content[: int(ends[-1]) + 1] if len(ends) else content


def _unparsed(path: Path, layout: _Layout, ragged: list[Any], fault: Exception) -> DataError:
    if not ragged:
        return DataError(f"{path}: is not CSV ({' '.join(str(fault).split())[:200]}); write the file again")
    row = ragged[0]
    return DataError(
        f"{path}: data row {row.number} has another number of cells ({row.actual_columns}) than the header "
        f"({row.expected_columns}): {_shown(row.text)}; write one cell per column, "
        f"in double quotes where it holds {layout.delimiter!r}"
    )


def _content(path: Path, limit: int = -1) -> bytes:
    """The first `limit` bytes of a text file, all where it is negative, unpacked where it is gzipped."""
    with _opened(path) as handle:
        packed = handle.read(2) == GZIP
        handle.seek(0)
        if not packed:
            content = handle.read(limit)
        else:
            try:
                content = gzip.GzipFile(fileobj=handle).read(limit)
            except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
                raise DataError(
                    f"{path}: is gzip that cannot be unpacked ({fault}); copy the whole file again"
                ) from fault
    _refuse_foreign(path, content[:512])
    return content


def _refuse_foreign(path: Path, head: bytes) -> None:
    if head.startswith((PARQUET, GZIP)):
        raise DataError(f"{path}: is a gzipped file within which stands no CSV; unpack it once")
    start = head.removeprefix(BOM).lstrip()
    for magic, name in FOREIGN:
        if start.startswith(magic):
            raise DataError(f"{path}: is no table but {name}; save the table as Parquet or CSV")
    zeros = max(head[0::2].count(0), head[1::2].count(0))
    if head.startswith(WIDE_TEXT) or zeros > len(head) // 4:
        raise DataError(f"{path}: is UTF-16 text from byte 0 on ({head[:4]!r}...); save it as UTF-8")


def _check_text(path: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as fault:
        raise _not_utf8(path, content, fault) from None
    at = content.find(0)
    if at >= 0:
        raise DataError(
            f"{path}: byte {at} (line {_line(content, at)}) is NUL, which no text holds; write the file again"
        )


def _not_utf8(path: Path, content: bytes, fault: UnicodeDecodeError) -> DataError:
    at = fault.start
    return DataError(
        f"{path}: byte {at} (line {_line(content, at)}) is 0x{content[at]:02X}, which is not UTF-8 but perhaps "
        f"Latin-1; save the file as UTF-8"
    )


def _check_quotes(path: Path, content: bytes, layout: _Layout) -> None:
    """Hold CSV to its grammar: parsers take an open quote as a cell that swallows the rows after it."""
    if b'"' not in content:
        return
    end = cast("re.Match[bytes]", _grammar(layout.delimiter).match(content, layout.start)).end()
    if end < len(content):
        cell = content[end : end + 80].decode(errors="replace")
        raise DataError(
            f"{path}: line {_line(content, end)} opens a quote that is not closed at the end of its cell: "
            f"{_shown(cell)}; close it, and double every quote inside a cell"
        )


def _grammar(delimiter: str) -> re.Pattern[bytes]:
    """Matches whole cells from the start of a row on, so that the match ends where the first broken cell begins."""
    mark = re.escape(delimiter.encode())
    quoted = rb'"(?:[^"]++|"")*+"'
    plain = rb'[^"\r\n' + mark + rb"][^\r\n" + mark + rb"]*+"
    cell = rb"(?:" + quoted + rb"|" + plain + rb")?+"
    return re.compile(rb"(?:" + cell + rb"(?:" + mark + rb"|\r\n?|\n))*+(?:" + cell + rb"\Z)?+")


def _layout(path: Path, sample: bytes) -> _Layout:
    """Tell the delimiter: the one that cuts the header and the first rows into equally many columns, and most."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError as fault:
        raise _not_utf8(path, sample, fault) from None
    mark = len(BOM) if text.startswith("\ufeff") else 0
    lines = io.StringIO(text[1:] if mark else text, newline="").readlines()
    if not "".join(lines).strip():
        raise DataError(f"{path}: holds only blank lines; put in a file with rows, or remove it")
    whole = lines if len(sample) < SNIFFED_BYTES else lines[:-1]
    delimiter = max(DELIMITERS, key=lambda candidate: _fit(whole, candidate))
    reader = csv.reader(whole, delimiter=delimiter, strict=True)
    try:
        names = next(filter(None, reader))
    except (csv.Error, StopIteration) as fault:
        raise DataError(f"{path}: its header cannot be read ({fault}): {_shown(lines[0])}; correct line 1") from fault
    return _Layout(delimiter, names, mark + sum(len(line.encode()) for line in lines[: reader.line_num]))


def _fit(lines: list[str], delimiter: str) -> tuple[bool, int]:
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # an open quote or a huge cell further down; the rows before it tell enough
        rows.extend(itertools.islice(filter(None, csv.reader(lines, delimiter=delimiter)), SNIFFED_ROWS))
    widths = [len(row) for row in rows] or [0]
    return 1 < widths[0] == min(widths) == max(widths), widths[0]


def _line(content: bytes, at: int) -> int:
    return len(content[: at + 1].splitlines())


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
