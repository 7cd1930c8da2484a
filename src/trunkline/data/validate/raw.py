"""The raw table as the checks read it: drop by drop as a pandas frame, or column by column as codes.

Never more than one drop, or a few columns of all drops, is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trunkline.data.validate.leaks import Coded, Target

if TYPE_CHECKING:
    import pandas as pd

    from trunkline.columns import Column
    from trunkline.tasks import Task
    from trunkline.tasks.base import LabelColumn


class RawRows:
    """data/raw/rows.parquet: `drops` names its drops in their order, each held by row groups of its own."""

    def __init__(self, path: Path, drops: Sequence[str]) -> None:
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        self.drops = list(drops)
        self._groups: dict[str, list[int]] = {name: [] for name in drops}
        for place in range(self._file.num_row_groups):
            for name in self._file.read_row_group(place, columns=["drop"])["drop"].unique().to_pylist():
                self._groups[name].append(place)
        self._order = [place for name in drops for place in self._groups[name]]

    def __enter__(self) -> RawRows:
        return self

    def __exit__(self, *fault: object) -> None:
        self._file.close()

    @property
    def schema(self) -> pa.Schema:
        """The table's schema."""
        return self._file.schema_arrow

    def drop(self, name: str) -> pa.Table:
        """Return one drop."""
        return self._file.read_row_groups(self._groups[name])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return a few columns of all drops, in the order of the drops."""
        return self._file.read_row_groups(self._order, columns=list(names)).select(list(names))


def judged(table: pa.Table, columns: Mapping[str, Column], tasks: Mapping[str, Task]) -> pd.DataFrame:
    """Return rows as the checks judge them: missing is missing, true is 1.0, false is 0.0.

    The word "" counts as missing, as it does for the model.
    """
    for name in table.column_names:
        table = table.set_column(table.column_names.index(name), name, _cleaned(table[name], columns.get(name)))
    return table.to_pandas()


def _cleaned(values: pa.ChunkedArray, column: Column | None) -> pa.ChunkedArray:
    if pa.types.is_boolean(values.type):
        return pc.cast(values, pa.float64())
    if column is not None and column.kind == "categorical":
        return _worded(values)
    return values


def coded(values: pa.ChunkedArray, kept: np.ndarray[Any, Any]) -> Coded:
    """Return the kept rows of an input as codes; the word "" is missing.

    Args:
        values: The column, all rows.
        kept: True for each row that stays.
    """
    import pandas as pd

    if pa.types.is_string(values.type):
        codes, found = pd.factorize(_worded(values).to_pandas().to_numpy()[kept])
        return Coded(codes.astype(np.int64), found.tolist(), False)
    whole = pc.cast(values, pa.int64()) if pa.types.is_timestamp(values.type) else values
    numbers = pc.cast(whole, pa.float64(), safe=False).to_numpy()[kept]
    codes, levels = pd.factorize(numbers, sort=True)
    return Coded(codes.astype(np.int64), levels.tolist(), True)


def _worded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(values, ""), None, values)


def label_columns(tasks: Mapping[str, Task]) -> dict[str, LabelColumn]:
    """Return every column that holds labels, by name."""
    return {name: column for task in tasks.values() for name, column in task.label_columns.items()}


def target_of(name: str, column: LabelColumn, values: pa.ChunkedArray, kept: np.ndarray[Any, Any]) -> Target:
    """Return the kept rows of a label column as codes."""
    held = coded(values, kept)
    if column.type == "number":
        return Target(name, held, ())
    if column.type == "truth":
        place = np.array([int(level) for level in held.values] + [-1])  # the last serves the code of missing
        return Target(name, held._replace(codes=place[held.codes], values=[0.0, 1.0]), ("false", "true"))
    return Target(name, held, tuple(held.values))


def class_names(tasks: Mapping[str, Task], frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the classes that each label column of words holds, in alphabetical order."""
    open_targets = [name for name, column in label_columns(tasks).items() if column.type == "words"]
    return {name: sorted(str(word) for word in frame[name].dropna().unique()) for name in open_targets}
