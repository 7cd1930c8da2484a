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


class Targets(NamedTuple):
    """The columns that hold a task's labels."""

    columns: Sequence[str]
    any_counts: bool
    """Whether a row with a value in one of them has a label, or all must be filled."""


def count_labels(drops: Sequence[Path], targets: Mapping[str, Targets]) -> list[Labels] | None:
    """Return the labels of each drop; None where a file does not tell, such as CSV.

    Of a task with several columns the footers say no more than how often each is filled. Where any of them is a label
    at least as many rows have one as the fullest column; where all are needed, at most as many as the emptiest.

    Args:
        drops: The files of data/incoming/.
        targets: Of each task the columns that hold the label.
    """
    found = [_of_drop(path, targets) for path in drops]
    known = [labels for labels in found if labels is not None]
    return known if len(known) == len(found) else None


def _of_drop(path: Path, targets: Mapping[str, Targets]) -> Labels | None:
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return None
    places = {footer.schema.column(place).path: place for place in range(footer.num_columns)}
    empty = {task: _unlabelled(footer, places, columns) for task, columns in targets.items()}
    counts = {task: footer.num_rows - nulls for task, nulls in empty.items() if nulls is not None}
    return Labels(footer.num_rows, counts) if len(counts) == len(targets) else None


def _unlabelled(footer: pq.FileMetaData, places: Mapping[str, int], targets: Targets) -> int | None:
    nulls = [_nulls(footer, places.get(column)) for column in targets.columns]
    known = [each for each in nulls if each is not None]
    if len(known) < len(nulls):
        return None
    return min(known) if targets.any_counts else max(known)


def _nulls(footer: pq.FileMetaData, place: int | None) -> int | None:
    """Return the missing values of a column: all where the file lacks it; None where the footer does not say."""
    if place is None:
        return int(footer.num_rows)
    statistics = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
    if any(each is None or not each.has_null_count for each in statistics):
        return None
    return sum(int(each.null_count) for each in statistics)
