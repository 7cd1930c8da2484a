"""The self-check: the few rows that card.json keeps must give the outputs that the exported model gave.

It catches what no checksum can: a library or a processor that computes something else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from trunkline.serving.cells import Kind, Values
from trunkline.serving.feeds import Feeds, Input, build_feeds

TOLERANCE = 1e-5
ARROW: dict[Kind, Any] = {"numeric": pa.float64(), "categorical": pa.string(), "timestamp": pa.int64()}


def golden_feeds(rows: dict[str, list[Any]], inputs: list[Input]) -> Feeds:
    """Return the feeds of the card's golden rows; null = missing."""
    columns = {name: pa.array(rows[name], ARROW[kind]) for name, kind in inputs}
    return build_feeds(pa.table(columns), inputs)[0]


def differences(found: Values, golden: list[list[Any]], part: str, spread: float) -> list[int]:
    """Return the golden rows whose output is not what it was.

    Args:
        found: What the model gives now, [rows, columns].
        golden: What it gave, one list per row; null = not a number.
        part: Labels and sets must be equal.
        spread: Of what is in the target's unit, the target's standard deviation over the training rows: it must be
            within 1e-5 |value| + 1e-5 spread. 0 of probabilities, which must be within 1e-5.

    Raises:
        ValueError: The golden outputs are of another number than those found.
    """
    exact = part in ("label", "set")
    expected = np.array(golden, dtype=object if exact else np.float64).reshape(found.shape)
    if exact:
        same = found == expected
    else:
        relative, absolute = (TOLERANCE, TOLERANCE * spread) if spread else (0.0, TOLERANCE)
        same = np.isclose(found.astype(np.float64), expected, rtol=relative, atol=absolute, equal_nan=True)
    return [int(row) for row in np.flatnonzero(~same.all(axis=1))]
