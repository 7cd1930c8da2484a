"""Tables of text on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

GAP = "  "
FEWEST = 16  # columns that the last cell of a row keeps


def aligned(rows: Sequence[Sequence[str]], words: int | None = None, columns: int | None = None) -> list[str]:
    r"""Return the lines of a table, whose cells are as wide as the widest of their column; the last one is to the left.

    Args:
        rows: All of one length.
        words: How many of the first cells are to the left, the others to the right. Default: all.
        columns: Where the last cell is wrapped. Default: nowhere.

    Example:
        >>> aligned([("name", "rows", "note"), ("a", "10", "new")], words=1)
        ['name  rows  note', 'a       10  new']
        >>> print(*aligned([("a", "b c d"), ("long", "e")], columns=8), sep="\n")
        a     b c d
        long  e
    """
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    before, left = sum(widths) + len(GAP) * len(widths), len(widths) if words is None else words
    lines = []
    for *cells, last in rows:
        padded = (cell.ljust if place < left else cell.rjust for place, cell in enumerate(cells))
        first = "".join(f"{pad(width)}{GAP}" for pad, width in zip(padded, widths, strict=True))
        kept = [last] if columns is None else wrap(last, max(FEWEST, columns - before), break_on_hyphens=False) or [""]
        lines += [f"{first}{kept[0]}".rstrip(), *(" " * before + part for part in kept[1:])]
    return lines
