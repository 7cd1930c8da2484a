"""What a column holds, as a person would say it: numbers, whole numbers, words, moments, nothing.

CSV cells are text, so that text that spells something else counts as that, where every cell spells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import polars as pl
import pyarrow as pa

from trunkline.data.conversion import MOMENT, NUMBER, TEXT, TRUTHS, convert
from trunkline.errors import DataError

Kind = Literal["number", "whole", "words", "moment", "nothing"]
NO_VALUE = ("NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "none", "nan", "NaN", "-", ".", "?")
"""Words that stand for "no value" where all other cells are numbers, moments, or yes and no."""
NO_LABEL = ("NA", "N/A", "#N/A", "NULL")
"""Those that no class has for a name."""
FORMS = {
    "numbers with a comma; write them as 1234.5": re.compile(r"[+-]?[0-9.]*,[0-9]+"),
    "numbers with a sign; write 1234.5": re.compile(r"[$\u20ac\u00a3] ?[+-]?[0-9.,]+|[+-]?[0-9.,]+ ?[%$\u20ac\u00a3]"),
    "dates of another order; write them as 2013-01-31": re.compile(
        r"(?:[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}|[0-9]{4}[./][0-9]{1,2}[./][0-9]{1,2})(?:[ T].*)?"
    ),
}
"""What ingest takes for words, though the person means something else."""
LOOKED_AT = 100  # words by which that is told
LARGEST_EXACT = 2.0**53
DAY = 86_400_000_000  # microseconds


class Held:
    """A column and what it holds.

    Args:
        name: Its name.
        array: Its cells as one of the types that ingest keeps: int64, float64, bool, string, timestamp.
    """

    def __init__(self, name: str, array: pa.Array) -> None:
        self.name = name
        self.array = array
        self.kind: Kind
        self.kind, self.values = _understood(array)

    @property
    def rows(self) -> int:
        """Rows looked at."""
        return len(self.values)

    @cached_property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.values.null_count()

    @cached_property
    def different(self) -> int:
        """Different values."""
        # Large whole numbers are alike as floats.
        cells = pl.Series(self.array) if self.kind == "whole" else self.values
        return cells.drop_nulls().n_unique()

    @cached_property
    def low(self) -> float:
        """Smallest number; of moments in microseconds since 1970."""
        return float(self.values.min())  # type: ignore[arg-type]

    @cached_property
    def high(self) -> float:
        """Largest number; of moments in microseconds since 1970."""
        return float(self.values.max())  # type: ignore[arg-type]

    @property
    def mean(self) -> float:
        """Mean of the numbers."""
        return float(self.values.mean())  # type: ignore[arg-type]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Rows of each value as text, the commonest first."""
        text = pl.Series(convert(pa.chunked_array([self.array]), TEXT, self.name)).drop_nulls()
        counted = pl.DataFrame({"word": text}).group_by("word").len().sort(["len", "word"], descending=[True, False])
        return dict(counted.iter_rows())

    @property
    def is_truth(self) -> bool:
        """Whether every cell says yes or no."""
        if self.kind == "whole":
            return self.low >= 0 and self.high <= 1
        return self.kind == "words" and self.different <= 4 and _all_truths(self.counts)

    @property
    def is_daily(self) -> bool:
        """Whether all moments are dates without a time."""
        return self.kind == "moment" and bool((self.values % DAY == 0).all())

    @cached_property
    def misspelled(self) -> str | None:
        """What the words are that another form would make numbers or moments, with an example; None where words."""
        if self.kind != "words":
            return None
        some = list(self.counts)[:LOOKED_AT]
        found = (what for what, form in FORMS.items() if all(form.fullmatch(word) for word in some))
        return next((what.replace(";", f", such as '{some[0]}';") for what in found), None)

    def no_values(self) -> set[str]:
        """Return the words that stand for "no value" here: what they stand among is none of words."""
        suspects = {word for word in self.counts if word in NO_VALUE} if self.kind == "words" else set()
        rest = [word for word in self.counts if word not in suspects]
        return suspects if suspects and rest and not _are_words(rest) else set()

    def without(self, words: Iterable[str]) -> Held:
        """Return the column with some words read as "no value"."""
        if self.array.type != TEXT or not (found := [word for word in words if word in self.counts]):
            return self
        cells = pl.Series(self.array, dtype=pl.String)
        return Held(self.name, cells.set(cells.is_in(found).fill_null(False), None).to_arrow().cast(TEXT))


def _understood(array: pa.Array) -> tuple[Kind, pl.Series]:
    if array.null_count == len(array):
        return "nothing", pl.Series(array)
    if array.type == MOMENT:
        return "moment", _microseconds(array)
    if array.type == pa.bool_():
        return "words", pl.Series(array.cast(TEXT))
    if array.type == TEXT:
        return _spelled(array)
    return _numbers(pl.Series(array.cast(NUMBER, safe=False)))


def _numbers(values: pl.Series) -> tuple[Kind, pl.Series]:
    whole = bool(((values == values.floor()) & (values.abs() <= LARGEST_EXACT)).all())
    return ("whole" if whole else "number"), values


def _spelled(array: pa.Array) -> tuple[Kind, pl.Series]:
    text = pl.Series(array, dtype=pl.String)
    different = text.drop_nulls().unique()
    if _spells_numbers(different):
        numbers = text.cast(pl.Float64, strict=False)
        numbers = numbers.set(~numbers.is_finite(), None)
        return _numbers(numbers) if numbers.null_count() < len(numbers) else ("nothing", numbers)
    if _spells_moments(different):
        return "moment", _microseconds(convert(pa.chunked_array([array]), MOMENT, ""))
    return "words", text


def _spells_numbers(words: pl.Series) -> bool:
    """Whether all words are numbers; digits behind a leading 0, as in postal codes, are none."""
    return not words.cast(pl.Float64, strict=False).has_nulls() and not bool(words.str.contains(r"^0[0-9]").any())


def _spells_moments(words: pl.Series) -> bool:
    try:
        convert(pa.chunked_array([words.to_arrow()]), MOMENT, "")
    except DataError:
        return False
    return True


def _microseconds(array: pa.Array) -> pl.Series:
    return pl.Series(array.cast(pa.int64()))


def _all_truths(words: Iterable[str]) -> bool:
    return all(word.lower() in TRUTHS or word in ("0", "1") for word in words)


def _are_words(words: list[str]) -> bool:
    series = pl.Series(words, dtype=pl.String)
    return not (_spells_numbers(series) or _spells_moments(series) or _all_truths(words))
