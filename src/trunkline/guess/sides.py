"""Which rows train, choose and judge: by a hash of the key, or earlier against later ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from trunkline.data.conversion import MOMENT
from trunkline.data.windows import Length, find_bounds
from trunkline.errors import ParamsError
from trunkline.guess.held import DAY
from trunkline.guess.table import Table, read_moments

TRAIN, CHOOSE = 0.7, 0.85  # shares of the rows before validation and before test
LEAST_TRAIN, LEAST = 0.5, 0.05  # shares that a side keeps when a border is moved to midnight
RANDOM = {"kind": "random", "validation": 0.15, "test": 0.15}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = (("year", 365.25, 3), ("month", 365.25 / 12, 1), ("week", 7.0, 1), ("day", 1.0, 1))
"""Units of a calendar, the longest first: days, and the fewest units in which a side is told."""

Moments: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]


class Lengths(NamedTuple):
    """How long validation and test are, as a split that follows new rows has it."""

    validation: str
    test: str


class Split(NamedTuple):
    """The settings of a split; of one in time also the lengths nearest to it, None where none leave enough rows."""

    settings: Mapping[str, object]
    lengths: Lengths | None = None


def split_of(table: Table, time: str | None) -> Split:
    """Return the split.

    Args:
        table: The table.
        time: The column whose later rows judge; None = by chance.

    Raises:
        ParamsError: That column does not order the rows.
    """
    if time is None:
        return Split(RANDOM)
    _check(table, time)
    moments = read_moments(table, time)
    if missing := moments.null_count():
        raise ParamsError(
            f"--time {time}: {missing:,} of {len(moments):,} rows have no moment; fill them in, or leave --time out"
        )
    different, rows = np.unique(moments.to_numpy(), return_counts=True)
    if len(different) < 3:
        raise ParamsError(f"--time {time}: holds {len(different)} different moments; a split in time needs three")
    before = np.cumsum(rows)[:-1] / len(moments)  # share of the rows before each but the first moment
    first = 1 + int(np.abs(before[:-1] - TRAIN).argmin())
    second = first + 1 + int(np.abs(before[first:] - CHOOSE).argmin())
    validation, test = _at_midnight(moments.to_numpy(), int(different[first]), int(different[second]))
    settings = {"kind": "time", "column": time, "validation": _written(validation), "test": _written(test)}
    return Split(settings, _lengths(moments.to_numpy(), validation, test))


def _check(table: Table, time: str) -> None:
    held = table.columns.get(time)
    if held is None or held.kind != "moment":
        found = table.nested.get(time) or (repr(next(iter(held.counts), "")) if held else "")
        raise ParamsError(
            f"--time {time}: holds {found or 'nothing'}, no moments; write ISO 8601 such as 2013-01-31 or "
            f"2013-01-31T18:00:00Z, or leave --time out"
        )


def _at_midnight(moments: Moments, validation: int, test: int) -> tuple[int, int]:
    """Move both borders to the start of their days, where every side keeps enough rows."""
    days = validation // DAY * DAY, test // DAY * DAY
    return days if _keeps_enough(moments, *days) else (validation, test)


def _keeps_enough(moments: Moments, validation: int, test: int) -> bool:
    shares = [float((moments < border).mean()) for border in (validation, test)]
    return shares[0] >= LEAST_TRAIN and shares[1] - shares[0] >= LEAST and 1 - shares[1] >= LEAST


def _lengths(moments: Moments, validation: int, test: int) -> Lengths | None:
    """Return the lengths nearest to both windows, in the longest unit that leaves every side enough rows."""
    newest = int(moments.max())
    for unit, days, fewest in UNITS:
        lasts = [round(window / DAY / days) for window in (test - validation, newest - test)]
        if min(lasts) >= fewest:
            borders = _counted_back(Length(lasts[0], unit), Length(lasts[1], unit), newest)
            if borders and _keeps_enough(moments, *borders):
                return Lengths(*(f"{last} {unit}{'s' if last > 1 else ''}" for last in lasts))
    return None


def _counted_back(validation: Length, test: Length, newest: int) -> tuple[int, int] | None:
    """Return where validation and test begin; None where that leaves the calendar."""
    try:
        bounds = find_bounds(None, validation, test, ZoneInfo("UTC"), EPOCH + timedelta(microseconds=newest))
    except OverflowError:
        return None
    one = timedelta(microseconds=1)
    return (bounds.validation - EPOCH) // one, (bounds.test - EPOCH) // one


def _written(moment: int) -> str:
    import pyarrow as pa

    from trunkline.data.conversion import plain_text

    text = str(plain_text(pa.array([moment], pa.int64()).cast(MOMENT))[0].as_py())
    return text.removesuffix("T00:00:00Z")
