"""What sharing did to one task: helped, hurt, equivalent, or inconclusive.

helped, hurt    the seed-paired t test says so after Holm's correction over the tasks (p < .05), and the 95 % bootstrap
                interval over trainings and rows lies on that side of 0, and the gain is larger than the margin
equivalent      two one-sided seed-paired t tests (5 % each) and the 90 % bootstrap interval place the gain within the
                margin on either side
inconclusive    all else; always with fewer than five trainings per arm

Row noise alone would call two trainings of one recipe different; seed noise alone would take the test rows for the
world. A verdict needs both tests. The gain is shared minus alone in the primary metric's unit, + = sharing is better.

source  Holm 1979, A simple sequentially rejective multiple test procedure
        Schuirmann 1987, two one-sided tests
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trunkline.evaluation.bootstrap import Spread
from trunkline.evaluation.evidence import Array

LEAST_SEEDS = 5
ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 10_000  # beyond this no number of trainings is named
MARGIN = 0.005  # of the way from a constant prediction's score to a perfect one


class Gain(NamedTuple):
    """What is known of one task's gain.

    Attributes:
        of_seeds: Gain of each pair of trainings on the test rows, float64 [seeds]; NaN = the metric does not exist.
        spread: Its spread over drawn trainings and rows, None where no test row has a label.
        margin: Difference below which it does not matter whether sharing helps, in the metric's unit.
    """

    of_seeds: Array
    spread: Spread | None
    margin: float

    @property
    def mean(self) -> float:
        """The gain: the mean over the pairs."""
        return float(self.of_seeds.mean())

    @property
    def seeds(self) -> int:
        """Pairs of trainings."""
        return len(self.of_seeds)

    @property
    def deviation(self) -> float:
        """Standard deviation of the pairs; NaN for a single one."""
        return float(self.of_seeds.std(ddof=1)) if self.seeds > 1 else math.nan

    def interval(self, level: float = 0.95) -> list[float] | None:
        """Return the bootstrap interval, None for a single pair or where too many draws lack the metric."""
        return self.spread.interval(level) if self.spread and self.seeds > 1 else None


def paired_p(gain: Gain) -> float:
    """Return the two-sided p of the seed-paired t test that the gain is 0; NaN for a single pair.

    Pairs that all differ by the same amount leave no noise to judge by: p is 1 where that amount is 0, else 0.
    """
    from scipy import stats

    if not math.isfinite(gain.deviation):
        return math.nan
    if gain.deviation == 0:
        return 1.0 if gain.mean == 0 else 0.0
    t = gain.mean / (gain.deviation / math.sqrt(gain.seeds))
    return float(2 * stats.t.sf(abs(t), gain.seeds - 1))


def holm(of_tasks: Mapping[str, float]) -> dict[str, float]:
    """Return p values corrected for having tested several tasks; NaN stays and does not count.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan})
        {'a': 0.03, 'b': 0.06, 'c': 0.06, 'd': nan}
    """
    tested = sorted((p, name) for name, p in of_tasks.items() if math.isfinite(p))
    corrected, largest = dict(of_tasks), 0.0
    for place, (p, name) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - place)))
        corrected[name] = largest
    return corrected


def transfer(gain: Gain, alone: float, p: float, p_adjusted: float, tasks: int) -> dict[str, Any]:
    """Return what evaluation.json says of one task's gain.

    Args:
        gain: The gain of its pairs of trainings.
        alone: Its score alone, mean over trainings.
        p: From `paired_p`.
        p_adjusted: From `holm`.
        tasks: How many tasks were tested together.

    Returns:
        `needs` says what an inconclusive verdict lacks: "seeds", of which `seeds_needed` in all would decide it in 4 of
        5 cases (null beyond 10,000), or "rows", where the test rows alone leave it open. `row_deviation`: standard
        deviation of the gain that comes from the test rows alone. `lost_draws`: draws of the bootstrap in which the
        metric does not exist and which the interval leaves out.
    """
    verdict = decide(gain, p_adjusted)
    needs, seeds_needed = lacking(gain, tasks) if verdict == "inconclusive" else (None, None)
    return {
        "gain": gain.mean,
        "interval": gain.interval(),
        "gain_percent": 100 * gain.mean / abs(alone) if alone else math.nan,
        "p": p,
        "p_adjusted": p_adjusted,
        "verdict": verdict,
        "seeds": gain.seeds,
        "margin": gain.margin,
        "gains": gain.of_seeds.tolist(),
        "needs": needs,
        "seeds_needed": seeds_needed,
        "row_deviation": gain.spread.row_deviation() if gain.spread else None,
        "lost_draws": gain.spread.lost if gain.spread else None,
    }


def decide(gain: Gain, p_adjusted: float) -> str:
    """Return the verdict on one task.

    Args:
        gain: The gain of its pairs of trainings.
        p_adjusted: p of the paired t test after Holm's correction.
    """
    ends = gain.interval()
    if gain.seeds < LEAST_SEEDS or ends is None or not math.isfinite(gain.mean):
        return "inconclusive"
    if p_adjusted < ALPHA and abs(gain.mean) > gain.margin and ends[0] * ends[1] > 0:
        return "helped" if gain.mean > 0 else "hurt"
    return "equivalent" if _within_margin(gain) else "inconclusive"


def _within_margin(gain: Gain) -> bool:
    from scipy import stats

    reach = stats.t.ppf(1 - ALPHA, gain.seeds - 1) * gain.deviation / math.sqrt(gain.seeds)
    ends = gain.interval(1 - 2 * ALPHA)
    inside = abs(gain.mean) + reach < gain.margin
    return bool(inside and ends is not None and -gain.margin < ends[0] and ends[1] < gain.margin)


def lacking(gain: Gain, tasks: int) -> tuple[str, int | None]:
    """Return what would decide an inconclusive verdict, as `transfer` describes it.

    A gain beyond the margin must be told from 0; one within it must be told from the margin. With n trainings the t
    test sees deviation / sqrt(n) of noise; the bootstrap sees the noise of the rows besides, which stays.

    Args:
        gain: The gain of its pairs of trainings.
        tasks: How many tasks are tested together; a difference must be clear after their correction.
    """
    from scipy import stats

    if gain.spread is None or not (gain.spread.enough and math.isfinite(gain.mean) and math.isfinite(gain.margin)):
        return "rows", None
    beyond = abs(gain.mean) > gain.margin
    distance = abs(gain.mean) if beyond else gain.margin - abs(gain.mean)
    row_noise = stats.norm.ppf(1 - ALPHA / 2 if beyond else 1 - ALPHA) * gain.spread.row_deviation()
    if gain.seeds < 2:
        return "seeds", LEAST_SEEDS
    if row_noise >= distance:
        return ("rows", None) if gain.seeds >= LEAST_SEEDS else ("seeds", LEAST_SEEDS)
    counts = np.arange(max(LEAST_SEEDS, gain.seeds + (gain.seeds >= LEAST_SEEDS)), MOST_SEEDS + 1)
    error = gain.deviation / np.sqrt(counts)
    clear = stats.t.ppf(1 - (ALPHA / 2 / tasks if beyond else ALPHA), counts - 1)
    shown = (clear + stats.t.ppf(POWER, counts - 1)) * error < distance
    apart = np.hypot(stats.t.ppf(1 - (ALPHA / 2 if beyond else ALPHA), counts - 1) * error, row_noise) < distance
    enough = counts[shown & apart]
    return "seeds", int(enough[0]) if len(enough) else None
