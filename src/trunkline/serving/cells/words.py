"""Words: str objects, "" = missing.

Whole numbers become their plain digits, whatever type holds them (7, 7.0 and "7" are one word), because a
column of integers turns into floats in pandas as soon as one is missing. Moments become ISO text in UTC.
Null, NaN and infinities are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trunkline.serving.cells.base import Values, Wrong, coded, is_text, quoted, unreadable, wrong_rows

EXACT = float(2**53)  # whole float64 numbers below this stand for themselves alone
EXPECTED = "text, numbers, true/false or moments"


def read_words(name: str, cells: Any) -> tuple[Values, Wrong]:
    """Read a column as words.

    Args:
        name: The column's name, for the reasons.
        cells: One plain Arrow array.

    Returns:
        str objects [rows], and the reason per row whose bytes are not UTF-8.

    Raises:
        DataError: The column's type holds no words, such as a list.
    """
    unique, codes = coded(_as_text(name, cells))
    words, faults = [], {}
    for code, cell in enumerate(unique):
        try:
            words.append(cell.decode())
        except UnicodeDecodeError:
            words.append("")
            faults[code] = f"column '{name}': {quoted(cell)} is not UTF-8 text"
    return np.array([*words, ""], dtype=object)[codes], wrong_rows(codes, faults)


def _as_text(name: str, cells: Any) -> Any:
    kind, types = cells.type, pa.types
    if is_text(kind) or types.is_null(kind):
        return cells
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind) or types.is_date(kind):
        return cells.cast(pa.string())
    if types.is_timestamp(kind):
        text = cells.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.string())
        return pc.replace_substring(pc.replace_substring(text, " ", "T"), ".000000Z", "Z")
    if types.is_floating(kind):
        return _text_of_floats(cells)
    raise unreadable(name, kind, EXPECTED)


def _text_of_floats(cells: Any) -> Any:
    cells = cells.cast(pa.float32()) if pa.types.is_float16(cells.type) else cells
    number = cells.cast(pa.float64())
    whole = pc.and_(pc.equal(pc.floor(number), number), pc.less(pc.abs(number), EXACT))
    digits = pc.if_else(whole, number, None).cast(pa.int64()).cast(pa.string())
    other = pc.if_else(pc.is_finite(number), cells.cast(pa.string()), None)
    return pc.coalesce(digits, other)
