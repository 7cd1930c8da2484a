"""Groups of people or things: the values of a sensitive column as codes, by which every task is judged.

    groups/<column>.npy    int32 [rows of all sides, train first, then validation, then test]: place of the row's group
    groups/<column>.json   the groups' names, and rows per side and group
    groups/manifest.json   the seal, and which column lies in which file; there also where no column is sensitive

A row without a value belongs to the group "(missing)".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from trunkline.errors import ParamsError
from trunkline.files import atomic_path, seal, write_json

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MISSING = "(missing)"
MOST_GROUPS = 50  # values; with more, hardly any has the rows to be judged by
LONGEST_NAME = 100  # signs of a file's name
WHOLE_NUMBER = re.compile(r"-?[0-9]+")

Codes = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def group_codes(values: pa.Array | pa.ChunkedArray) -> tuple[Codes, list[str]]:
    """Return the group of every row: its place among the names, and the names in their order.

    Whole numbers come in their order, then words in theirs, then the rows without a value.

    Args:
        values: Words, numbers or true/false; null or "" = no value.

    Example:
        >>> codes, names = group_codes(pa.array(["b", None, "a", "b"]))
        >>> codes.tolist(), names
        ([1, 2, 0, 1], ['a', 'b', '(missing)'])
    """
    whole = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    typed = whole.cast(pa.string()) if pa.types.is_null(whole.type) else whole
    found = typed.dictionary_encode()
    chunks = found.unify_dictionaries().chunks
    words = [_word(value) for value in (chunks[0].dictionary.to_pylist() if chunks else [])]
    names = _in_order({*words, *([MISSING] if found.null_count else [])})
    place_of = {name: place for place, name in enumerate(names)}
    places = np.array([*(place_of[word] for word in words), place_of.get(MISSING, 0)], dtype=np.int32)
    codes = [chunk.indices.fill_null(len(words)).to_numpy() for chunk in chunks]
    return places[np.concatenate(codes)] if codes else np.zeros(0, dtype=np.int32), names


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) or MISSING


def _in_order(words: Iterable[str]) -> list[str]:
    def rank(word: str) -> tuple[bool, bool, int, str]:
        whole = WHOLE_NUMBER.fullmatch(word)
        return word == MISSING, whole is None, int(word) if whole else 0, word

    return sorted(words, key=rank)


def check_groups(column: str, values: pa.ChunkedArray) -> None:
    """Refuse a column that forms no groups.

    Raises:
        ParamsError: It holds moments or fractions, or too many different values.
    """
    where = f"params.yaml: data.sensitive: column '{column}'"
    different = values.unique().drop_null()
    if pa.types.is_timestamp(values.type):
        raise ParamsError(f"{where} holds moments; groups are words, whole numbers or true/false: name such a column")
    if len(different) > MOST_GROUPS:
        raise ParamsError(
            f"{where} has {len(different)} different values, such as {_shown(different)}; at most {MOST_GROUPS} "
            f"groups can be judged: name a coarser column, such as an age band for an age"
        )
    if pa.types.is_floating(values.type) and not all(value.is_integer() for value in different.to_pylist()):
        raise ParamsError(
            f"{where} holds fractions, such as {_shown(different)}; groups are words, whole numbers or true/false: "
            f"name a column of bands"
        )


def _shown(different: pa.Array) -> str:
    return ", ".join(repr(value) for value in different.slice(0, 3).to_pylist())


def file_stem(column: str) -> str:
    """Return the name of a column's files, without ending: the column's own where files may be called so.

    Example:
        >>> file_stem("sex"), file_stem("a/b c")
        ('sex', 'a%2Fb%20c')
    """
    safe = quote(column, safe="")
    if len(safe) <= LONGEST_NAME:
        return safe
    return f"{safe[: LONGEST_NAME - 17]}-{hashlib.sha256(column.encode()).hexdigest()[:16]}"


def write_groups(columns: Sequence[str], rows: pq.ParquetFile, sides: Mapping[str, Mask], folder: Path) -> None:
    """Write the groups of every sensitive column, one column in memory at a time, and seal them.

    Args:
        columns: The sensitive columns, any number.
        rows: data/split/rows.parquet, open.
        sides: Of each side, in order, True where a row belongs to it.
        folder: data/encoded/groups.

    Raises:
        ParamsError: A column forms no groups.
    """
    stems = {column: file_stem(column) for column in columns}
    for column, stem in stems.items():
        values = rows.read([column])[column]
        check_groups(column, values)
        codes, names = group_codes(values)
        of_sides = {side: codes[mask] for side, mask in sides.items()}
        counts = {side: np.bincount(part, minlength=len(names)) for side, part in of_sides.items()}
        with atomic_path(folder / f"{stem}.npy") as temporary, open(temporary, "wb") as handle:
            np.lib.format.write_array(handle, np.concatenate(list(of_sides.values())), allow_pickle=False)
        write_json(folder / f"{stem}.json", {"version": 1, "column": column, "groups": names, "rows": counts})
    seal(folder, [f"{stem}.{kind}" for stem in stems.values() for kind in ("npy", "json")], columns=stems)
