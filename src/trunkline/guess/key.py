"""Which columns identify a row: one, or two or three that together name a cell of a panel, such as firm and year."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import pyarrow as pa

from trunkline.data.reader import is_parquet
from trunkline.data.split import encode_keys
from trunkline.errors import ParamsError
from trunkline.guess.held import Held
from trunkline.guess.table import Table

MOST_MEMBERS = 12  # columns among which pairs and triples are looked for
FULLEST = 4.0  # cells of a panel per row; columns that differ by accident span many more
NAMES = frozenset(("id", "ids", "key", "row", "rows", "rownames", "index", "no", "nr", "num", "number", "uuid", "guid"))
"""Parts of names that columns have which identify something."""


class Key(NamedTuple):
    """Columns that identify a row, and how that is known."""

    columns: list[str]
    why: str


def find_key(table: Table, asked: Sequence[str], targets: Collection[str]) -> Key:
    """Return the columns that were asked for, or the fewest that identify a row.

    Raises:
        ParamsError: Those asked for do not identify a row, or none does.
    """
    if asked:
        _check(table, list(asked))
        return Key(list(asked), "as you said")
    members = [held for name, held in table.columns.items() if name not in targets and _may_identify(held)]
    single = [held for held in members if held.different == table.rows]
    if single:
        best = min(single, key=_rank)
        return Key([best.name], "another value in every row")
    # Those with the most values first: few of them suffice.
    members = sorted(members, key=lambda held: -held.different)[:MOST_MEMBERS]
    for size in (2, 3):
        for group in itertools.combinations(members, size):
            cells = math.prod(held.different for held in group)
            names = [name for name in table.columns if name in {held.name for held in group}]
            if table.rows <= cells <= FULLEST * table.rows and not repeats(table, names):
                return Key(names, "together another value in every row")
    raise ParamsError(_none(table))


def names_rows(held: Held) -> bool:
    """Whether a column's name is one of those that identify something."""
    parts = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", held.name).lower())
    return not NAMES.isdisjoint(parts)


def is_numbered(held: Held) -> bool:
    """Whether the column counts the rows: whole numbers, all different and nearly without a gap."""
    return held.kind == "whole" and held.different == held.rows > 1 and held.high - held.low < 2 * held.rows


def repeats(table: Table, names: Sequence[str]) -> int:
    """Return how many rows have the same values in some columns as an earlier row."""
    keys = encode_keys(pa.table({name: table.columns[name].array for name in names}), list(names))
    return len(keys) - keys.n_unique()


def _may_identify(held: Held) -> bool:
    return held.kind in ("whole", "words", "moment") and held.known == held.rows > 1 < held.different


def _rank(held: Held) -> tuple[bool, bool, bool]:
    return not names_rows(held), not is_numbered(held), held.kind != "words"


def _check(table: Table, names: list[str]) -> None:
    for name in names:
        if name in table.nested:
            raise ParamsError(f"--key {name}: holds {table.nested[name]}; a key is text, whole numbers or moments")
        missing = table.rows - table.columns[name].known
        if missing:
            raise ParamsError(f"--key {name}: {missing:,} of {table.rows:,} rows have no value there; name another")
    if double := repeats(table, names):
        raise ParamsError(
            f"--key {','.join(names)}: {double:,} of {table.rows:,} rows have the key of another row; name besides "
            f"what tells them apart, or remove double rows"
        )


def _none(table: Table) -> str:
    first = table.files[0]
    if is_parquet(first):
        way = f"in polars: read_parquet('{first.name}').with_row_index('row')"
    else:
        program = """'{print (NR == 1 ? "row" : NR - 1) "," $0}'"""
        way = f"awk {program} {first.name} > numbered.csv"
    return (
        f"{first}: no column, nor two or three together, identify a row, which a run needs to split and to report; "
        f"name them by --key A,B, or number the rows, across all files: {way}"
    )
