"""Tables of text on a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

GAP = "  "
FEWEST = 16  # columns that the last cell of a row keeps


def aligned(rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    r"""Yield the lines of a table: the last cell of a row is wrapped, the others are as wide as their widest.

    Example:
        >>> print(*aligned([("a", "b c d"), ("long", "e")], 8), sep="\n")
        a     b c d
        long  e
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    before = sum(widths) + len(GAP) * len(widths)
    for *cells, last in rows:
        first = "".join(f"{cell.ljust(width)}{GAP}" for cell, width in zip(cells, widths, strict=True))
        parts = wrap(last, max(FEWEST, columns - before), break_on_hyphens=False) or [""]
        yield f"{first}{parts[0]}".rstrip()
        yield from (" " * before + part for part in parts[1:])
