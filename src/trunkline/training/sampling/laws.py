"""What every rule that draws tasks has in common: a law that gives each table of rows its share of the steps.

Tasks whose labels stand in the same rows make a table: two belong together where at least half of the rows that have
a label of either have one of both. A step is drawn for one table, all its rows out of that table, with probability
p_g; within the table a row is met like any other. Each task's loss in such a step is its mean over labelled rows, so
that the expected step is

    sum over tables g of p_g * sum over tasks k of table g of the gradient of task k's declared objective.

Labels of other tasks that stand in those rows are hidden in that step. Would they count, task k would be learned
p_g times more for each table g that overlaps with its rows, whatever the law says, and from the rows in the overlap,
which need not resemble all of its rows. Weights could undo that, but they scale the very losses that a balance method
compares. The hidden labels are learned from when their own table is drawn.

The number of steps is that of `shuffle`. The alone arm follows the same rule; it has one table, so that each of its
steps is of labelled rows. An index of the labelled rows is held in memory, 8 bytes per row and table; data larger than
memory is read wherever the rows lie.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from trunkline.training.sampling.base import BaseSampling

if TYPE_CHECKING:
    from trunkline.training.sampling._sampler import Feed, Sampler

Array = np.ndarray[Any, np.dtype[np.float64]]


class Table(NamedTuple):
    """Tasks whose labels stand in the same rows, and how many rows these are."""

    tasks: tuple[str, ...]
    rows: int


class When(NamedTuple):
    """The place of a step in a training, all from 0."""

    epoch: int
    epochs: int
    step: int
    steps: int
    """Of all epochs."""


class TaskLaw(BaseSampling):
    """Draw each step for one table of tasks."""

    leaves_out: ClassVar[bool] = True

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table, float64 [tables], sum 1."""
        raise NotImplementedError

    def learned(self, when: When) -> Collection[str] | None:
        """Return the tasks whose labels count in a step; None = all."""
        return None

    def build(self, feed: Feed) -> Sampler:
        """Return what yields the batches of each epoch."""
        from trunkline.training.sampling._tasks import TaskDraws

        return TaskDraws(self, feed)


def powers(tables: Sequence[Table], exponent: float, cap: int | None = None) -> Array:
    """Return shares proportional to rows ** exponent, a table's rows counted up to `cap`.

    Example:
        >>> powers([Table(("a",), 900), Table(("b",), 100)], 0.5).tolist()
        [0.75, 0.25]
    """
    rows = np.array([table.rows for table in tables], dtype=np.float64)
    sizes = (rows if cap is None else rows.clip(max=cap)) ** exponent
    shares: Array = sizes / sizes.sum()
    return shares
