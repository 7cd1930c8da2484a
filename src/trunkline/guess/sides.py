"""Which rows train, choose and judge: by a hash of the key, or earlier against later ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trunkline.data.conversion import MOMENT
from trunkline.errors import ParamsError
from trunkline.guess.held import DAY
from trunkline.guess.table import Table, read_moments

TRAIN, CHOOSE = 0.7, 0.85  # shares of the rows before validation and before test
LEAST_TRAIN, LEAST = 0.5, 0.05  # shares that a side keeps when a border is moved to midnight
RANDOM = {"kind": "random", "validation": 0.15, "test": 0.15}


def split_of(table: Table, time: str | None) -> Mapping[str, object]:
    """Return the settings of the split.

    Args:
        table: The table.
        time: The column whose later rows judge; None = by chance.

    Raises:
        ParamsError: That column does not order the rows.
    """
    if time is None:
        return RANDOM
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
    return {"kind": "time", "column": time, "validation": _written(validation), "test": _written(test)}


def _check(table: Table, time: str) -> None:
    held = table.columns.get(time)
    if held is None or held.kind != "moment":
        found = table.nested.get(time) or (repr(next(iter(held.counts), "")) if held else "")
        raise ParamsError(
            f"--time {time}: holds {found or 'nothing'}, no moments; write ISO 8601 such as 2013-01-31 or "
            f"2013-01-31T18:00:00Z, or leave --time out"
        )


def _at_midnight(moments: np.ndarray[tuple[int], np.dtype[np.int64]], validation: int, test: int) -> tuple[int, int]:
    """Move both borders to the start of their days, where every side keeps enough rows."""
    days = validation // DAY * DAY, test // DAY * DAY
    shares = [float((moments < border).mean()) for border in days]
    kept = shares[0] >= LEAST_TRAIN and shares[1] - shares[0] >= LEAST and 1 - shares[1] >= LEAST
    return days if kept else (validation, test)


def _written(moment: int) -> str:
    import pyarrow as pa

    from trunkline.data.conversion import plain_text

    text = str(plain_text(pa.array([moment], pa.int64()).cast(MOMENT))[0].as_py())
    return text.removesuffix("T00:00:00Z")
