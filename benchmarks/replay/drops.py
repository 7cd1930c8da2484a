"""The real months as drops, whole or a sample of each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.data.flights import write_months

Drops = dict[str, pa.Table]
"""Tables by file name, in the order of time."""


def months(rows: int | None) -> Drops:
    """Return the twelve months of real flights, or so many rows of each."""
    with tempfile.TemporaryDirectory() as folder:
        tables = {path.name: pq.read_table(path) for path in write_months(Path(folder), 3)}
    return tables if rows is None else {name: sample(table, rows, 0) for name, table in tables.items()}


def sample(table: pa.Table, rows: int, seed: int) -> pa.Table:
    """Return some rows, in their order."""
    chosen = np.random.default_rng(seed).choice(len(table), rows, replace=False)
    return table.take(pa.array(np.sort(chosen)))
