"""Harrell's concordance of times that may be censored, exact on rows that are drawn again.

A pair counts where it is known who came first: an event, and a row seen for longer, or censored at the same time. It is
concordant where the first had the shorter predicted time; equal predictions count half.

source  Harrell, Lee, Mark 1996. The order of a draw's rows never changes, only how often each counts: rows stand by
        time once, and for every power of two in blocks of that length, by prediction within each. All rows that lasted
        longer than one make up at most one block of each length, and its place among their predictions is known
        beforehand. A draw then costs a running sum and two look-ups per length: rows x log(rows).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trunkline.tasks.base import Array


class _Blocks(NamedTuple):
    """Blocks of one length, and the events that ask one of them.

    order: rows, by block and within it by prediction; events that ask; end of the block each asks, and in it the first
    place with a prediction as large as the event's, and with a larger one.
    """

    order: Array
    asks: Array
    end: Array
    equal: Array
    above: Array


class Concordance:
    """Prepared pairs of rows.

    Args:
        time: How long a row was seen, float [rows].
        event: Whether it ended with the event, bool [rows].
        value: Predicted time, or anything in its order, float [rows].
    """

    def __init__(self, time: Array, event: Array, value: Array) -> None:
        # By time, and at the same time events first: all that lasted longer than an event stands behind its equals.
        order = np.lexsort((~event, time))
        keys = np.stack([time[order], ~event[order]], axis=1)
        changes = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
        ends = np.append(np.flatnonzero(changes)[1:], len(time))
        self.events = np.flatnonzero(event[order])
        longer = ends[np.cumsum(changes) - 1][self.events]
        rank = np.unique(value[order], return_inverse=True)[1]
        self.rows, self.longer = order, longer
        self.blocks = [
            block for power in range(len(time).bit_length()) if (block := _blocks(power, rank, self.events, longer))
        ]

    def __call__(self, counts: Array) -> float:
        """Return the share of concordant pairs, NaN without pairs.

        Args:
            counts: How often each row was drawn, unsigned integers [rows].
        """
        drawn = counts.take(self.rows)
        twice = np.zeros(len(drawn), dtype=np.int64)  # the weight of concordant rows, where a half is a whole number
        for block in self.blocks:
            running = _running(drawn.take(block.order))
            twice[block.asks] += 2 * running.take(block.end) - running.take(block.above) - running.take(block.equal)
        first, so_far = drawn.take(self.events).astype(np.float64), _running(drawn)
        pairs = float(first @ (so_far[-1] - so_far.take(self.longer)))
        return float(first @ twice.take(self.events)) / (2 * pairs) if pairs else float("nan")


def _running(counts: Array) -> Array:
    """Return the sums of the first 0, 1, 2... counts."""
    found = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def _blocks(power: int, rank: Array, events: Array, longer: Array) -> _Blocks | None:
    """Return the blocks of 2^power rows, or None where no event asks one.

    All rows from `longer` to the last are cut into blocks that start at multiples of their own length.
    """
    rows, length = len(rank), 1 << power
    # From its first row on, a suffix takes the block of this length exactly where that bit of its start rounds up.
    low = -(-longer // length)
    start = low * length
    asked = (low % 2 == 1) & (start < rows)
    if not asked.any():
        return None
    block = np.arange(rows) // length
    order = np.lexsort((rank, block))
    key = block[order].astype(np.int64) * rows + rank[order]
    asks, start = events[asked], start[asked]
    wanted = (start // length) * rows + rank[asks]
    return _Blocks(
        order,
        asks,
        np.minimum(start + length, rows),
        np.searchsorted(key, wanted, side="left"),
        np.searchsorted(key, wanted, side="right"),
    )
