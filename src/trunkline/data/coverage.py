"""How many rows of the drops have a label of each task, told by the files' footers alone: no row is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq


class Labels(NamedTuple):
    """Rows of a drop, and of each task how many of them have a label."""

    rows: int
    labelled: dict[str, int]


def count_labels(drops: Sequence[Path], targets: Mapping[str, str]) -> list[Labels] | None:
    """Return the labels of each drop; None where a file does not tell, such as CSV.

    Args:
        drops: The files of data/incoming/.
        targets: Of each task the column that holds the label.
    """
    found = [_of_drop(path, targets) for path in drops]
    known = [labels for labels in found if labels is not None]
    return known if len(known) == len(found) else None


def _of_drop(path: Path, targets: Mapping[str, str]) -> Labels | None:
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return None
    places = {footer.schema.column(place).path: place for place in range(footer.num_columns)}
    empty = {task: _nulls(footer, places.get(column)) for task, column in targets.items()}
    counts = {task: footer.num_rows - nulls for task, nulls in empty.items() if nulls is not None}
    return Labels(footer.num_rows, counts) if len(counts) == len(targets) else None


def _nulls(footer: pq.FileMetaData, place: int | None) -> int | None:
    """Return the missing values of a column: all where the file lacks it; None where the footer does not say."""
    if place is None:
        return int(footer.num_rows)
    statistics = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
    if any(each is None or not each.has_null_count for each in statistics):
        return None
    return sum(int(each.null_count) for each in statistics)
