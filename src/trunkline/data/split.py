"""Every row gets a side: train (learned from), validation (chooses and calibrates) or test (judges).

time      earlier rows train, later rows judge; between moments, or counted back from the newest row
random    by a hash of the row's key; a row keeps its side when rows are added
group     by a hash of the group's columns, so that no group stands on two sides
column    as a column of the data says

Whatever the kind, a split is refused that leaves a side empty or lets one key stand on two sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from trunkline.chance import hash_fractions
from trunkline.data.conversion import MOMENT, plain_text
from trunkline.data.declarations import ColumnSplit, GroupSplit, RandomSplit, Split, TimeSplit
from trunkline.data.windows import Bounds
from trunkline.declared import did_you_mean
from trunkline.errors import DataError, ParamsError

SIDES = ("train", "validation", "test")
SHOWN = 8  # values or keys named in a message
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NO_PART = -1

Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""A place in SIDES per row, or NO_PART."""


@dataclass(frozen=True)
class _Rows:
    table: pa.Table
    key: list[str]
    keys: pl.Series  # the key's values, encoded

    def name(self, row: int) -> str:
        """Name a row by its key, for a message."""
        return ", ".join(f"{name}={plain_text(self.table[name].slice(row, 1))[0]}" for name in self.key)


def columns_of(split: Split) -> list[str]:
    """Give the columns that a split reads besides the key."""
    match split:
        case GroupSplit():
            return list(split.columns)
        case RandomSplit():
            return []
        case _:
            return [split.column]


def assign_sides(table: pa.Table, split: Split, key: list[str], seed: int) -> pa.Array:
    """Give every row its side.

    Args:
        table: All rows, with the key's and the split's columns.
        split: The declaration.
        key: Columns that together identify a row.
        seed: The project's seed; another one draws other random and group splits.

    Returns:
        "train", "validation" or "test" per row; null for a row without a part: it lies before the training rows, or
        beyond `train_share` of them.

    Raises:
        DataError: A side would be empty, a key would stand on two sides, or a row tells no side.
        ParamsError: A column split gives one value two meanings.
    """
    rows = _Rows(table, key, encode_keys(table, key))
    places = ASSIGN[split.kind](rows, split, seed)
    _refuse_empty_sides(places, rows, split)
    _refuse_shared_keys(places, rows)
    unused = (places == NO_PART) | _unused(places, rows, split, seed)
    return pa.DictionaryArray.from_arrays(pa.array(places, mask=unused), pa.array(SIDES)).cast(pa.string())


def count_sides(sides: pa.Array) -> dict[str, int]:
    """Count the rows of every side."""
    return {side: pc.sum(pc.equal(sides, side)).as_py() for side in SIDES}


def with_side(schema: pa.Schema) -> pa.Schema:
    """Give the schema of rows that know their side."""
    return schema.append(pa.field("side", pa.string()))


def encode_keys(table: pa.Table, columns: list[str]) -> pl.Series:
    """Write the values of several columns as one text per row, so that different values never look alike.

    Each value is its length in bytes, a colon and the value as plain text; null is a dash. The text of a row
    depends on its own values alone, not on the column's type: 3 and "3" are the same key.

    Example:
        >>> encode_keys(pa.table({"a": ["x", None], "b": [10, 2]}), ["a", "b"]).to_list()
        ['1:x2:10', '-1:2']
    """
    texts = pl.DataFrame([pl.Series(name, plain_text(table[name]), dtype=pl.String) for name in columns])
    parts = [
        pl.when(pl.col(name).is_null())
        .then(pl.lit("-"))
        .otherwise(pl.concat_str(pl.col(name).str.len_bytes().cast(pl.String), pl.lit(":"), pl.col(name)))
        for name in columns
    ]
    return texts.select(pl.concat_str(parts).alias("key"))["key"]


# --- the four kinds ---------------------------------------------------------------------------------------


def _by_time(rows: _Rows, split: TimeSplit, seed: int) -> Places:
    moments = rows.table[split.column]
    if moments.null_count:
        row = moments.is_null().to_pylist().index(True)
        raise DataError(
            f"split: {moments.null_count} of {len(moments)} rows have no '{split.column}', so no side; the first is "
            f"{rows.name(row)}: fill it in, or remove these rows"
        )
    starts = [(start - EPOCH) // timedelta(microseconds=1) for start in find_windows(moments, split).starts]
    counts: Places = moments.cast(MOMENT).cast(pa.int64()).to_numpy()
    return np.searchsorted(np.array(starts), counts, side="right") + NO_PART


def find_windows(moments: pa.ChunkedArray, split: TimeSplit) -> Bounds:
    """Return where the sides of a time split begin.

    Args:
        moments: Of all rows.
        split: The declaration.

    Raises:
        DataError: The newest row is so near the end or the beginning of the calendar that they leave it.
    """
    if not split.moves:
        return split.bounds(EPOCH)
    newest = pc.max(moments.cast(MOMENT))
    try:
        return split.bounds(EPOCH + timedelta(microseconds=newest.cast(pa.int64()).as_py()))
    except OverflowError:
        raise DataError(
            f"split: the newest '{split.column}' is {newest}; lengths counted back from there leave the calendar: "
            f"remove or mend that row, or shorten them"
        ) from None


def _by_key(rows: _Rows, split: RandomSplit, seed: int) -> Places:
    return _by_hash(rows.keys, split, seed)


def _by_group(rows: _Rows, split: GroupSplit, seed: int) -> Places:
    return _by_hash(encode_keys(rows.table, split.columns), split, seed)


def _by_hash(encoded: pl.Series, split: RandomSplit | GroupSplit, seed: int) -> Places:
    fraction = hash_fractions(encoded.cast(pl.Binary).to_list(), f"split {seed}")
    return np.where(fraction < split.test, 2, np.where(fraction < split.test + split.validation, 1, 0))


def _by_column(rows: _Rows, split: ColumnSplit, seed: int) -> Places:
    meaning: dict[str, int] = {}
    for place, words in enumerate((split.train, split.validation, split.test)):
        for word in words:
            if meaning.setdefault(word, place) != place:
                raise ParamsError(f"params.yaml: split: '{word}' means both {SIDES[meaning[word]]} and {SIDES[place]}")
    values = pl.Series(plain_text(rows.table[split.column]), dtype=pl.String)
    unknown = values.filter(~values.is_in(list(meaning)).fill_null(False))
    if len(unknown):
        word = unknown[0]
        shown = "no value" if word is None else f"{word!r}"
        raise DataError(
            f"split: column '{split.column}' tells no side in {len(unknown)} of {len(values)} rows, which hold "
            f"{shown}{did_you_mean(word, meaning) if word is not None else ''}; "
            f"name it under split.train, split.validation or split.test"
        )
    return values.replace_strict(meaning, return_dtype=pl.Int64).to_numpy()


def _unused(places: Places, rows: _Rows, split: Split, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return True for the training rows beyond the share that is wanted; a smaller share is part of a larger one."""
    if split.train_share == 1:
        return np.zeros(len(places), dtype=np.bool_)
    fraction = hash_fractions(rows.keys.cast(pl.Binary).to_list(), f"share {seed}")
    unused: np.ndarray[Any, np.dtype[np.bool_]] = (places == 0) & (fraction >= split.train_share)
    return unused


ASSIGN: dict[str, Callable[..., Places]] = {
    "time": _by_time,
    "random": _by_key,
    "group": _by_group,
    "column": _by_column,
}


# --- what every split must be -----------------------------------------------------------------------------


def _refuse_empty_sides(places: Places, rows: _Rows, split: Split) -> None:
    counts = np.bincount(places[places != NO_PART], minlength=len(SIDES))
    empty = [side for side, count in zip(SIDES, counts, strict=True) if not count]
    if empty:
        raise DataError(
            f"split: no row falls on side {' and '.join(empty)}; {_held(rows, split)}: "
            f"change split in params.yaml, or add rows"
        )


def _held(rows: _Rows, split: Split) -> str:
    match split:
        case TimeSplit():
            moments = pl.Series(plain_text(rows.table[split.column]), dtype=pl.String)
            runs = f"column '{split.column}' runs from {moments.min()!s} to {moments.max()!s}"
            begin = f"validation begins at {split.validation}, test at {split.test}"
            if split.moves:
                newest = pc.index(rows.table[split.column], pc.max(rows.table[split.column])).as_py()
                begin = (
                    f"the newest row is {rows.name(newest)}, so that test: {split.test} and validation: "
                    f"{split.validation} mean {find_windows(rows.table[split.column], split)}"
                )
            return f"{runs}, {begin}"
        case ColumnSplit():
            words = pl.Series(plain_text(rows.table[split.column]), dtype=pl.String).unique().sort()
            return f"column '{split.column}' holds {', '.join(map(repr, words.head(SHOWN)))}"
        case GroupSplit():
            groups = encode_keys(rows.table, split.columns).n_unique()
            return f"there are {groups} groups, of which validation gets {split.validation:g} and test {split.test:g}"
        case RandomSplit():
            count = len(rows.table)
            return f"there are {count} rows, of which validation gets {split.validation:g} and test {split.test:g}"


def _refuse_shared_keys(places: Places, rows: _Rows) -> None:
    placed = pl.DataFrame({"key": rows.keys, "place": places}).with_row_index("row").filter(pl.col("place") != NO_PART)
    sides = placed.group_by("key").agg(pl.col("place").n_unique(), pl.col("row").first())
    shared = sides.filter(pl.col("place") > 1).sort("row")
    if len(shared):
        raise DataError(
            f"split: {len(shared)} keys stand on more than one side, the first is {rows.name(shared['row'][0])}; "
            f"remove the double rows, or name in data.key what tells them apart"
        )
