"""What every reader of cells has in common."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trunkline.errors import DataError

Values = np.ndarray[Any, Any]
Wrong = dict[int, str]

LONGEST_SHOWN = 40  # characters of a refused cell that its reason quotes


def plain(cells: Any) -> Any:
    """Return a column without dictionary or run-end encoding."""
    if pa.types.is_run_end_encoded(cells.type):
        return plain(pc.run_end_decode(cells))
    if pa.types.is_dictionary(cells.type):
        unique = cells.dictionary
        # Arrow cannot take from views of text.
        return (unique.cast(pa.large_binary()) if is_text(unique.type) else unique).take(cells.indices)
    return cells


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds text, or bytes that may be text."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def coded(text: Any) -> tuple[list[bytes], Values]:
    """Return the different cells of a text column, and for each row which one it holds (their number = null)."""
    encoded = text.cast(pa.large_binary()).dictionary_encode()
    unique = encoded.dictionary.to_pylist()
    return unique, encoded.indices.fill_null(len(unique)).to_numpy()


def wrong_rows(codes: Values, faults: dict[int, str]) -> Wrong:
    """Spread faults of different cells, by their code, over the rows that hold them."""
    return {int(row): faults[int(codes[row])] for row in np.flatnonzero(np.isin(codes, list(faults)))}


def quoted(cell: object) -> str:
    r"""Return a refused cell as its reason shows it: quoted, and short.

    Example:
        >>> quoted(b"12abc")
        "'12abc'"
        >>> quoted(b"\xff")
        "b'\\xff'"
    """
    if isinstance(cell, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            cell = cell.decode()
    text = repr(cell)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def unreadable(name: str, kind: Any, expected: str) -> DataError:
    """Return the error for a column whose type no cell of this input can have."""
    return DataError(f"column '{name}': holds {kind}; expected {expected}. Convert the column, then try again")
