"""Hold CSV to its grammar: a quote that opens a cell closes at its end, and is doubled in between.

Parsers take an open quote as one long cell that swallows the rows after it, and say nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from trunkline.errors import DataError

BOM = b"\xef\xbb\xbf"
SHOWN = 60  # bytes of a bad cell that the message quotes


class QuoteCheck:
    """Reads along with a parser, piece by piece.

    Args:
        path: The file, for the message.
        delimiter: What stands between cells.
        longest: Bytes after which a quote that was not closed will not be.
    """

    def __init__(self, path: Path, delimiter: str, longest: int) -> None:
        self.path, self.longest = path, longest
        self.cells = _whole_cells(delimiter)
        self.ends = (delimiter.encode(), b"\n", b"\r")
        self.open = b""
        self.line = 1
        self.started = False

    def __call__(self, content: bytes, *, last: bool) -> None:
        """Check the next piece of the file.

        Raises:
            DataError: A quote is open at the end of the file, or closes before the end of its cell.
        """
        if not self.started:
            content, self.started = content.removeprefix(BOM), True
        text = self.open + content
        end = self._end(text)
        self.line += text.count(b"\n", 0, end)
        self.open = text[end:]
        if self.open.startswith(b'"') and (last or len(self.open) > self.longest):
            shown = self.open[:SHOWN].decode(errors="replace")
            raise DataError(
                f"{self.path}: line {self.line} opens a quote that is not closed at the end of its cell: {shown!r}; "
                f"close it, and double every quote inside a cell"
            )

    def _end(self, text: bytes) -> int:
        """Where the last whole cell ends."""
        if b'"' not in text:
            return max(text.rfind(mark) for mark in self.ends) + 1
        whole = self.cells.match(text)
        return whole.end() if whole else 0


def _whole_cells(delimiter: str) -> re.Pattern[bytes]:
    """Match cells up to and with the delimiter or line end behind each; stop before one that is broken or cut off."""
    mark = re.escape(delimiter.encode())
    quoted = rb'"(?:[^"]++|"")*+"'
    plain = rb'[^"\r\n' + mark + rb"][^\r\n" + mark + rb"]*+"
    return re.compile(rb"(?:(?:" + quoted + rb"|" + plain + rb")?+(?:" + mark + rb"|\r\n?|\n))*+")
