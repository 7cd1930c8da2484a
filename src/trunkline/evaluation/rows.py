"""The test rows of data/split/ beside the predictions: what stands or falls together, when, and in which slice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.data.declarations import Split
from trunkline.evaluation.evidence import Array, TestRows


def read_test_rows(folder: Path, split: Split, columns: Iterable[str]) -> TestRows:
    """Read what evaluation needs of the test rows, in the order in which they were encoded.

    Args:
        folder: data/split.
        split: The declared split; a group split names what stands or falls together, a time split what time is.
        columns: Columns whose values are wanted.
    """
    import pyarrow.compute as pc

    from trunkline.data.rows import open_rows
    from trunkline.data.split import encode_keys

    rows, wanted = open_rows(folder), list(dict.fromkeys(columns))
    of_split = split.columns if split.kind == "group" else [split.column] if split.kind == "time" else []
    table = rows.read(["side", *dict.fromkeys([*of_split, *wanted])])
    table = table.filter(pc.equal(table["side"], "test"))
    units = np.arange(len(table))
    if split.kind == "group":
        units = encode_keys(table, split.columns).rank("dense").to_numpy().astype(np.int64) - 1
    time: Array | None = None
    if split.kind == "time":
        time = table[split.column].to_numpy().astype("datetime64[s]")
    return TestRows(units, time, {column: _values(table[column]) for column in wanted})


def _values(column: Any) -> Array:
    """Return numbers as float64 with NaN for missing, everything else as objects with None."""
    import pyarrow as pa

    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers: Array = column.cast(pa.float64()).to_numpy()
        return numbers
    return np.array(column.to_pylist(), dtype=object)
