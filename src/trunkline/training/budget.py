"""How long to train, and in steps of how many rows, where params.yaml leaves it to the data.

Few rows in large steps make a handful of steps, after which nothing is learned; many passes over few rows learn them
by heart. Between the two there is room: docs/log.md has what was measured, from 2,253 to 226,000 rows.
"""

from __future__ import annotations

import math

STEPS_OF_AN_EPOCH = 16
ROWS_OF_A_STEP = (32, 1024)
EPOCHS = (3, 8)
FEW = 8_000
"""Rows up to which the most epochs are made; twice as many get one epoch less."""


def fitting_batch(rows: int, least: int = 2) -> int:
    """Return how many of `rows` training rows make a step: a power of two near a 16th of them, within bounds.

    Args:
        rows: Training rows.
        least: What a step must hold whatever the rows.

    Example:
        >>> [fitting_batch(rows) for rows in (500, 2_253, 4_500, 23_000, 226_000)]
        [32, 128, 256, 1024, 1024]
    """
    smallest, largest = ROWS_OF_A_STEP
    nearest = 1 << round(math.log2(max(rows / STEPS_OF_AN_EPOCH, 1)))
    return max(least, min(largest, max(smallest, nearest)))


def fitting_epochs(rows: int) -> int:
    """Return how often a training passes over its rows.

    Example:
        >>> [fitting_epochs(rows) for rows in (500, 8_000, 23_000, 54_000, 226_000, 10_000_000)]
        [8, 8, 6, 5, 3, 3]
    """
    fewest, most = EPOCHS
    return min(most, max(fewest, round(most - math.log2(max(rows, 1) / FEW))))
