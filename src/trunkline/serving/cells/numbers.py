"""Numbers: float64, NaN = missing. Infinities stay; the graph treats them as missing.

Text counts where it is a decimal number, with spaces around it or not; "", "nan" are missing. "1,234", "0x1F",
"1_000" and "12abc" are refused: no rule about them is right everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trunkline.serving.cells.base import Values, Wrong, is_text, quoted, unreadable

NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity|nan(\([0-9a-z_]*\))?))$"
EXPECTED = "numbers, true/false, or text that is a number"


def read_numbers(name: str, cells: Any) -> tuple[Values, Wrong]:
    """Read a column as numbers.

    Args:
        name: The column's name, for the reasons.
        cells: One plain Arrow array.

    Returns:
        float64 [rows], and the reason per row whose text is no number.

    Raises:
        DataError: The column's type holds no numbers, such as a timestamp.
    """
    kind, types = cells.type, pa.types
    if types.is_floating(kind) or types.is_integer(kind):
        return _floats(cells), {}
    if types.is_boolean(kind):
        return _floats(cells.cast(pa.uint8())), {}
    if types.is_decimal(kind):
        # Through text, because Arrow's own conversion is off by the last bit in 4 % of cells.
        return _floats(cells.cast(pa.string()).cast(pa.float64())), {}
    if types.is_null(kind):
        return np.full(len(cells), np.nan), {}
    if is_text(kind):
        return _parse(name, cells.cast(pa.large_binary()))
    raise unreadable(name, kind, EXPECTED)


def _floats(cells: Any) -> Values:
    values: Values = cells.to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)


def _parse(name: str, cells: Any) -> tuple[Values, Wrong]:
    try:
        return _floats(cells.cast(pa.float64())), {}
    except pa.ArrowInvalid:
        return _parse_carefully(name, cells)


def _parse_carefully(name: str, cells: Any) -> tuple[Values, Wrong]:
    """Read a column some of whose cells are padded, empty or no number."""
    text = pc.ascii_trim_whitespace(cells.view(pa.large_string()))
    number = pc.match_substring_regex(text, NUMBER)
    wrong = pc.and_(pc.invert(number), pc.greater(pc.binary_length(text), 0)).fill_null(False)
    values = _floats(pc.if_else(number, text, None).cast(pa.float64()))
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    return values, {int(row): f"column '{name}': {quoted(cells[row].as_py())} is not a number" for row in rows}
