"""Raw columns in, model inputs out: the one place where a cell becomes what the graph reads.

Encoding for training, `trunkline predict` and `trunkline serve` all call `build_feeds`, so that a cell cannot
mean one thing to the training and another to the service. It has to be exact because onnxruntime is not: given
None, NaN or bytes as a string it scores the words "None", "nan" and "b'...'".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from trunkline.errors import DataError
from trunkline.serving.cells import READERS, Kind, Reader, Values, Wrong
from trunkline.serving.cells.base import plain

Feeds = dict[str, Values]
"""One array [rows, 1] per input: float64 (NaN = missing), str objects ("" = missing) or int64 (smallest = missing)."""

Rejected = dict[int, str]
"""Why a row was not understood, by its place (0 = the first), in ascending order; every other row is fine."""


class Input(NamedTuple):
    """An input of the model, named as its column."""

    name: str
    kind: Kind


def build_feeds(table: Any, inputs: Iterable[Input]) -> tuple[Feeds, Rejected]:
    """Turn a table into what the model takes, one array per input.

    A cell that cannot be understood is missing in the feed and its row is named in `rejected`; the caller
    decides what that means, but nobody gets a number made of it. Columns that are no input are ignored.

    Args:
        table: `pyarrow.Table` or `pyarrow.RecordBatch`.
        inputs: The model's inputs.

    Returns:
        Feeds: Arrays [rows, 1]; they may share memory with `table` and are then read-only.
        Rejected: Row to reason, such as "column 'distance': '12abc' is not a number".

    Raises:
        DataError: A column is absent, there twice, or of a type that its kind cannot hold.

    Example:
        >>> table = pa.table({"distance": ["719", "12abc"], "origin": ["EWR", None]})
        >>> feeds, rejected = build_feeds(table, [Input("distance", "numeric"), Input("origin", "categorical")])
        >>> feeds["distance"].ravel().tolist(), feeds["origin"].ravel().tolist()
        ([719.0, nan], ['EWR', ''])
        >>> rejected
        {1: "column 'distance': '12abc' is not a number"}
    """
    feeds: Feeds = {}
    rejected: Rejected = {}
    for name, kind in inputs:
        values, wrong = _read(pick(table, name), name, READERS[kind])
        feeds[name] = values.reshape(-1, 1)
        for row, reason in wrong.items():
            rejected[row] = f"{rejected[row]}; {reason}" if row in rejected else reason
    return feeds, dict(sorted(rejected.items()))


def pick(table: Any, name: str) -> Any:
    """Return the column `name` of a table or record batch.

    Raises:
        DataError: There is none, or more than one.
    """
    places = table.schema.get_all_field_indices(name)
    if not places:
        near = difflib.get_close_matches(name, table.schema.names, n=1)
        held = f"did you mean '{near[0]}'?" if near else f"the columns are {_listed(table.schema.names)}"
        raise DataError(f"column '{name}' is missing; {held}")
    if len(places) > 1:
        raise DataError(f"column '{name}' is there {len(places)} times; keep one of them")
    return table.column(places[0])


def _listed(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"


def _read(column: Any, name: str, read: Reader) -> tuple[Values, Wrong]:
    # Chunk by chunk, because a column of text may hold more than the 2 GiB that one Arrow array can.
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts: list[Values] = []
    wrong: Wrong = {}
    start = 0
    for chunk in chunks or [pa.nulls(0, column.type)]:
        values, faults = read(name, plain(chunk))
        parts.append(values)
        wrong |= {start + row: reason for row, reason in faults.items()}
        start += len(chunk)
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)), wrong
