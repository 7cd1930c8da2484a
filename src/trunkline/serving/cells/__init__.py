"""What a cell means to each kind of input: one plain Arrow column in, its values and the cells without sense out.

A kind is one file with one function `read(name, cells) -> (values, wrong)`, named once, in `READERS` below.
`values` has one entry per row, with the kind's own "missing" wherever the cell is null or makes no sense; `wrong`
maps each row of the latter sort to a sentence about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from trunkline.serving.cells.base import Values, Wrong
from trunkline.serving.cells.moments import read_moments
from trunkline.serving.cells.numbers import read_numbers
from trunkline.serving.cells.words import read_words

Kind = Literal["numeric", "categorical", "timestamp"]
Reader = Callable[[str, Any], tuple[Values, Wrong]]

READERS: dict[Kind, Reader] = {
    "numeric": read_numbers,
    "categorical": read_words,
    "timestamp": read_moments,
}

__all__ = ["READERS", "Kind", "Reader", "Values", "Wrong"]
