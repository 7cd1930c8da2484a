"""How far apart two samples lie, out of their counts by bin or by word, and how far chance alone would put them.

    psi              sum of (q - p) ln(q / p)                                0 = alike, without an upper end
    jensen_shannon   root of the Jensen-Shannon divergence, base 2           0 = alike, 1 = nothing in common
    l_infinity       the largest difference of any one share                 0 = alike, 1 = nothing in common

source  Lin 1991, Divergence Measures Based on the Shannon Entropy (the distance: Endres and Schindelin 2003)
        Yurdakul and Naranjo 2020, Statistical properties of the population stability index: under no drift it is about
        (1/n + 1/m) times a chi-squared variable with bins - 1 degrees of freedom
Differs: half a row is added to every bin of the stability index, without which one empty bin makes it infinite. What
        chance shows is simulated, because bins of few rows leave the chi-squared far behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Distance = Callable[[Array, Array], Array]
"""Of counts [..., cells] of two samples, float64 [...]."""

DRAWS = 200  # pairs of samples behind what chance shows
HALF_A_ROW = 0.5


def psi(before: Array, now: Array) -> Array:
    """Return the population stability index; 0.1 and 0.25 are the customary small and large.

    Example:
        >>> round(float(psi(np.array([500, 500]), np.array([800, 200]))), 3)
        0.415
    """
    p, q = _shares(before + HALF_A_ROW), _shares(now + HALF_A_ROW)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def jensen_shannon(before: Array, now: Array) -> Array:
    """Return the Jensen-Shannon distance, base 2.

    Example:
        >>> float(jensen_shannon(np.array([7, 0]), np.array([0, 3])))
        1.0
    """
    p, q = _shares(before), _shares(now)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return np.sqrt(np.clip(divergence, 0.0, 1.0))


def l_infinity(before: Array, now: Array) -> Array:
    """Return the largest difference of any one share.

    Example:
        >>> round(float(l_infinity(np.array([5, 3, 2]), np.array([50, 10, 40]))), 3)
        0.2
    """
    return np.asarray(np.abs(_shares(now) - _shares(before)).max(axis=-1))


def _shares(counts: Array) -> Array:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _relative_entropy(p: Array, middle: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p > 0, p * np.log2(p / middle), 0.0).sum(axis=-1))


def by_chance(distance: Distance, before: Array, now: Array, alarms: float, stream: np.random.Generator) -> float:
    """Return what a distance exceeds in a share `alarms` of samples of these sizes that come from one source.

    Args:
        distance: One of this module.
        before: Counts of the first sample, int [cells].
        now: Counts of the second, int [cells].
        alarms: Such as 0.0001. So far out no simulation reaches; a gamma distribution with the mean and the variance of
            the simulated distances does, as it does for a chi-squared one.
        stream: Where chance comes from.
    """
    from scipy import stats

    source = (before + now) / (before.sum() + now.sum())
    drawn = [stream.multinomial(int(counts.sum()), source, size=DRAWS) for counts in (before, now)]
    found = distance(drawn[0], drawn[1])
    mean, variance = float(found.mean()), float(found.var(ddof=1))
    if variance == 0.0:
        return mean
    return float(stats.gamma.isf(alarms, mean**2 / variance, scale=variance / mean))
