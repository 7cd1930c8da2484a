"""All tasks in a few figures, each in a form that cannot hide a task that sharing hurt.

delta_m_percent   mean over tasks of the gain in percent of the score alone, + = sharing is better; one primary metric
                  per task, so that no task counts by the number of its metrics
worst_task        the task whose gain is the smallest share of the way from a constant prediction to a perfect one,
                  because gains of different metrics cannot be compared as they are
worst_gain        its gain, in its primary metric's unit
worst_interval    in the same unit: the interval of the smallest such share over all tasks, whichever task it is in a
                  draw. The smallest of several noisy figures lies low, and the interval with it: it errs to the
                  side of caution
utility           mean of the exported model's skills, weighted by the tasks' `weight`

source  Maninis et al. 2019, arXiv:1904.08918 (delta_m)
Differs: the intervals are joint. A draw takes the same trainings and rows for all tasks, because tasks share both and
        their variances do not add up. Percentages are of the scores alone as measured, not as drawn: a score alone near
        0 would make the percentage, and not the gain, uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trunkline.evaluation.bootstrap import Spread, together
from trunkline.evaluation.verdict import Gain

VERDICTS = ("helped", "hurt", "equivalent", "inconclusive")


class Part(NamedTuple):
    """One task's part in the composite.

    Attributes:
        gain: What is known of its gain.
        alone: Its score alone, mean over trainings.
        scale: Distance from a constant prediction's score to a perfect one, in the primary metric's unit.
        weight: Its declared say.
        skill: Skill of the exported model.
        verdict: What sharing did to it.
    """

    gain: Gain
    alone: float
    scale: float
    weight: float
    skill: float
    verdict: str

    @property
    def percent(self) -> float:
        """Factor from the gain to percent of the score alone."""
        return 100 / abs(self.alone) if self.alone else math.nan

    @property
    def share(self) -> float:
        """The gain as a share of the way from a constant prediction to a perfect one."""
        return self.gain.mean / self.scale if self.scale else math.nan


def compose(parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return `composite` of evaluation.json; figures that do not exist for every task are NaN, except the worst.

    Args:
        parts: By task.
    """
    verdicts = [part.verdict for part in parts.values()]
    weights, skills = (np.array([getattr(part, name) for part in parts.values()]) for name in ("weight", "skill"))
    return {
        "delta_m_percent": float(np.mean([part.gain.mean * part.percent for part in parts.values()])),
        "interval": _interval([(part.gain, part.percent) for part in parts.values()], np.mean),
        **_worst(parts),
        "utility": float(weights @ skills / weights.sum()),
        **{verdict: verdicts.count(verdict) for verdict in VERDICTS},
    }


def _worst(parts: Mapping[str, Part]) -> dict[str, Any]:
    compared = {name: part for name, part in parts.items() if math.isfinite(part.share)}
    if not compared:
        return {"worst_task": None, "worst_gain": None, "worst_interval": None}
    worst = min(compared, key=lambda name: compared[name].share)
    ends = _interval([(part.gain, 1 / part.scale) for part in compared.values()], np.min)
    return {
        "worst_task": worst,
        "worst_gain": parts[worst].gain.mean,
        "worst_interval": [end * parts[worst].scale for end in ends] if ends else None,
    }


def _interval(gains: list[tuple[Gain, float]], combine: Any) -> list[float] | None:
    """Return the joint interval of scaled gains, None where one of them has none."""
    scaled = [
        Spread(gain.spread.rows * factor, gain.spread.drawn * factor, gain.seeds)
        for gain, factor in gains
        if gain.spread and gain.seeds > 1 and math.isfinite(factor)
    ]
    return together(scaled, combine).interval() if len(scaled) == len(gains) else None
