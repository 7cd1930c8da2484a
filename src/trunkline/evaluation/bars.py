"""Gains as bars around zero, all on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STEPS = (1, 2, 2.5, 5, 10)  # times a power of ten: where a scale may end
OF_MIDDLE = 2.5  # times the median reach: where it ends at the latest


class Bar(NamedTuple):
    """A gain on a scale from -1 to 1.

    Attributes:
        gain: Where the bar that starts at 0 ends.
        low: Lower end of the interval; None where there is none.
        high: Its upper end.
        beyond: True where any of them was cut to the scale.
        margin: Half the width of the zone about 0 within which a gain does not matter; None where none is declared.
    """

    gain: float
    low: float | None
    high: float | None
    beyond: bool
    margin: float | None = None


def gain_bars(
    gains: Mapping[str, Sequence[float]], margins: Mapping[str, float] | None = None, least: float = 0.0
) -> tuple[float, dict[str, Bar]]:
    """Put gains on one scale, so wide that most fit, so narrow that one far off does not flatten the others.

    Args:
        gains: Per task its gain, then the two ends of its interval where there is one; all in one unit.
        margins: Per task the gain below which nothing matters, in that unit.
        least: What 1 on the scale means at least, in that unit.

    Returns:
        What 1 on the scale means, in that unit, and a bar per task.

    Example:
        >>> scale, bars = gain_bars({"a": [0.5], "b": [-1.0], "c": [14.0]})
        >>> scale, bars["b"].gain, bars["c"].gain, bars["c"].beyond
        (2.5, -0.4, 1.0, True)
    """
    reaches = sorted(max(abs(end) for end in ends) for ends in gains.values())
    farthest, middle = (reaches[-1], reaches[len(reaches) // 2]) if reaches else (0.0, 0.0)
    scale = _round_up(max(least, min(farthest, OF_MIDDLE * middle) or farthest or 1.0))
    return scale, {name: _bar(ends, scale, (margins or {}).get(name)) for name, ends in gains.items()}


def _bar(ends: Sequence[float], scale: float, margin: float | None) -> Bar:
    gain, low, high = [max(-1.0, min(1.0, end / scale)) for end in ends] + [None, None][: 3 - len(ends)]
    zone = None if margin is None else min(1.0, margin / scale)
    return Bar(gain or 0.0, low, high, any(abs(end) > scale for end in ends), zone)


def _round_up(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in STEPS if step * unit >= value * (1 - 1e-12))
