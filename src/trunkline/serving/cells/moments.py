"""Moments: int64 seconds since 1970 in UTC, rounded down; the smallest int64 = missing.

Without a zone a moment counts as UTC. Numbers count as seconds. Text must be an ISO date or date and time
("2013-01-31", "2013-01-31 05:00", "2013-01-31T05:00:00.5+01:00"); digits alone are refused, because 2013010105
may be seconds or an hour of a day. Moments outside the years 1 to 9999 are refused: they are milliseconds taken
for seconds, or worse.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from trunkline.serving.cells.base import Values, Wrong, coded, is_text, quoted, unreadable, wrong_rows

MISSING = int(np.iinfo(np.int64).min)
FIRST, LAST = -62_135_596_800, 253_402_300_799  # 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
EXPECTED = "timestamps, dates, seconds since 1970, or ISO text"


def read_moments(name: str, cells: Any) -> tuple[Values, Wrong]:
    """Read a column as moments.

    Args:
        name: The column's name, for the reasons.
        cells: One plain Arrow array.

    Returns:
        int64 [rows], and the reason per row that is no moment of the years 1 to 9999.

    Raises:
        DataError: The column's type holds no moments, such as true/false.
    """
    kind, types = cells.type, pa.types
    if is_text(kind):
        return _parse(name, cells)
    if types.is_null(kind):
        return np.full(len(cells), MISSING), {}
    if types.is_floating(kind):
        return _from_floats(name, cells)
    known = cells.is_valid().to_numpy(zero_copy_only=False)
    if types.is_unsigned_integer(kind):
        return _within(name, cells, cells.cast(pa.uint64()).fill_null(0).to_numpy(), known)
    seconds = _seconds(name, cells)
    return _within(name, cells, seconds, known & (seconds != MISSING))


def _seconds(name: str, cells: Any) -> Values:
    """Seconds of a column of signed whole numbers, whatever they count; 0 for null."""
    kind, types = cells.type, pa.types
    if types.is_timestamp(kind):
        return np.floor_divide(_whole(cells), PER_SECOND[kind.unit])
    if types.is_date32(kind):
        return _whole(cells.cast(pa.int32())) * 86_400
    if types.is_date64(kind):
        return np.floor_divide(_whole(cells), 1_000)
    if types.is_signed_integer(kind):
        return _whole(cells)
    raise unreadable(name, kind, EXPECTED)


def _whole(cells: Any) -> Values:
    values: Values = cells.cast(pa.int64()).fill_null(0).to_numpy()
    return values


def _from_floats(name: str, cells: Any) -> tuple[Values, Wrong]:
    seconds = cells.to_numpy(zero_copy_only=False).astype(np.float64)
    return _within(name, cells, np.floor(seconds), ~np.isnan(seconds))


def _within(name: str, cells: Any, seconds: Values, known: Values) -> tuple[Values, Wrong]:
    """Return the known seconds as int64; those outside the calendar are missing, with a reason."""
    inside = known & (seconds >= FIRST) & (seconds <= LAST)
    values = np.where(inside, seconds, 0).astype(np.int64)
    values[~inside] = MISSING
    return values, {int(row): _outside(name, cells[row]) for row in np.flatnonzero(known & ~inside)}


def _outside(name: str, cell: Any) -> str:
    value = cell.value if hasattr(cell, "value") else cell.as_py()  # a timestamp may lie beyond what Python can show
    return f"column '{name}': {quoted(value)} {cell.type} lies outside the years 1 to 9999"


def _parse(name: str, cells: Any) -> tuple[Values, Wrong]:
    unique, codes = coded(cells)
    seconds, faults = np.full(len(unique) + 1, MISSING), {}
    for code, cell in enumerate(unique):
        try:
            seconds[code] = _from_iso(cell.decode().strip())
        except (ValueError, OverflowError):
            faults[code] = f"column '{name}': {quoted(cell)} is not a date and time such as 2013-01-31T05:00:00Z"
    return seconds[codes], wrong_rows(codes, faults)


def _from_iso(text: str) -> int:
    """Seconds since 1970 of ISO text; "" is missing.

    Example:
        >>> _from_iso("1970-01-01T01:00:00.9+01:00")
        0
    """
    if not text:
        return MISSING
    if not ISO.fullmatch(text):
        raise ValueError(text)
    moment = datetime.fromisoformat(text.replace("z", "Z"))
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(seconds=1)
