"""Intervals and sets that hold the label of a stated share of rows, from validation rows that chose nothing.

A number's interval is its prediction plus and minus one width, so wide that it would have held the label of
`coverage` of those rows; a set holds every class whose probability is at least as high as `coverage` of that
class's own rows were given for it. The classes are held to it one by one because a rare class is never among the
likeliest: a width for all of them together would leave it out of every set and still be right often enough.

What is guaranteed, whatever the model: of rows drawn as the validation rows were, at least `coverage` are covered on
the average over such draws, for classes also within each class (so that a class which becomes more common loses
nothing). It is no promise for a single row or for a part of the rows, and none where the rows to come differ, as
after a shift in time: hence the report measures the coverage on the test rows. The correction is fitted on the same
validation rows, which costs about its one to two numbers over the rows: with 1,000 rows a tenth of a percent.

source  Split conformal prediction, Vovk et al. 2005; Lei et al. 2018, arXiv:1604.04173 (absolute residuals); Sadinle,
        Lei, Wasserman 2019, arXiv:1609.00451 (1 - probability of the label, class by class).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.errors import DataError
from trunkline.tasks import kind_of
from trunkline.tasks._modules import Correction, Predict, Region, Regions, head_of
from trunkline.tasks.base import TaskState
from trunkline.tasks.given import is_joint
from trunkline.training.calibrate import head_slices

Array = np.ndarray[Any, Any]

SLACK = 1e-5  # of a probability, and of a target's standard deviation: as far as two machines may differ


def fit_regions(
    states: Mapping[str, TaskState],
    corrections: Mapping[str, Correction],
    outputs: Array,
    labels: Mapping[str, Array],
    coverage: Mapping[str, float],
) -> dict[str, Region]:
    """Return what makes interval or set of every task that `coverage` names.

    Args:
        states: The tasks' states by name, in the order of the heads.
        corrections: Their calibration, which comes first.
        outputs: The heads' outputs on the validation rows that chose nothing, float32 [rows, outputs].
        labels: Their labels by task, see `fit_region`.
        coverage: Share of rows whose label is to be held, by task.
    """
    heads = head_slices(states)
    return {
        name: _fit_joint_region(name, states, corrections, outputs, labels[name], coverage[name])
        if is_joint(state)
        else fit_region(state, corrections[name], outputs[:, heads[name]], labels[name], coverage[name])
        for name, state in states.items()
        if name in coverage
    }


def _fit_joint_region(
    name: str,
    states: Mapping[str, TaskState],
    corrections: Mapping[str, Correction],
    outputs: Array,
    labels: Array,
    coverage: float,
) -> Region:
    """Return what makes the set of a binary task that is given another: of the joint probability."""
    known = ~np.isnan(labels)
    with torch.inference_mode():
        predict = Predict(list(states.values()), [corrections[each] for each in states])
        prediction = predict(torch.from_numpy(outputs[known]))[list(states).index(name)]
    return _region(states[name], prediction, labels[known], coverage)


def fit_region(state: TaskState, correction: Correction, outputs: Array, labels: Array, coverage: float) -> Region:
    """Return what makes the interval or the set of one task.

    Args:
        state: The task's state.
        correction: Its calibration, which comes first.
        outputs: The head's outputs on the validation rows that chose nothing, float32 [rows, outputs].
        labels: Their labels, float [rows]: 0/1, the class's place, or the number in the target's own unit, not cut
            to `clip`; NaN = no label. As many as `refuse_too_few` demands.
        coverage: Share of rows whose label is to be held, 0.5 to 0.999.
    """
    known = ~np.isnan(labels)
    with torch.inference_mode():
        prediction = Predict([state], [correction])(torch.from_numpy(outputs[known]))[0]
    return _region(state, prediction, labels[known], coverage)


def _region(state: TaskState, prediction: Tensor, labels: Array, coverage: float) -> Region:
    if kind_of(state).words(state) is None:
        return Region(coverage, (_half_width(prediction[:, 0].numpy(), labels, state["spread"], coverage),))
    probability = head_of(state).chances(prediction).numpy()
    of_class = [probability[labels == place, place] for place in range(probability.shape[1])]
    bounds = [-conformal_quantile(-of_rows, coverage) * (1 - SLACK) for of_rows in of_class]
    return Region(coverage, tuple(bounds))


def _half_width(value: Array, label: Array, spread: float, coverage: float) -> float:
    width = conformal_quantile(np.abs(label.astype(np.float64) - value), coverage)
    # Labels that lie exactly on an end stay inside where float32 or another machine rounds it differently.
    return width + SLACK * spread + 2 * float(np.spacing(np.abs(value).max()))


def region_arrays(state: TaskState, region: Region, prediction: Array) -> list[Array]:
    """Return lower and upper end, float32 [rows, 1] each, or the set, bool [rows, classes], of calibrated predictions.

    Args:
        state: The task's state.
        region: What `fit_region` returned for it.
        prediction: Its predictions, float32 [rows, 1 or classes].
    """
    with torch.inference_mode():
        return [part.numpy() for part in Regions([state], [region])([torch.from_numpy(prediction)])]


def conformal_quantile(scores: Array, coverage: float) -> float:
    """Return the ceil((rows + 1) coverage)-th smallest score.

    A fresh score, drawn as these were, is no larger with probability `coverage` or more.

    Args:
        scores: float [rows], at least `least_rows(coverage)` of them.
        coverage: 0 to 1.

    Example:
        >>> conformal_quantile(np.array([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 9.0, 8.0, 7.0]), 0.8)
        8.0
    """
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)  # 100 * 0.55 is 55.000000000000007
    return float(np.partition(scores, rank - 1)[rank - 1])


def least_rows(coverage: float) -> int:
    """Return how many rows a quantile for that coverage takes; with fewer it would be infinite.

    Example:
        >>> [least_rows(coverage) for coverage in (0.5, 0.9, 0.95, 0.999)]
        [1, 9, 19, 999]
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def refuse_too_few(states: Mapping[str, TaskState], labels: Mapping[str, Array], coverage: Mapping[str, float]) -> None:
    """Refuse a coverage that the validation rows cannot vouch for.

    Args:
        states: The tasks' states by name.
        labels: float [rows] per task, of the validation rows that chose nothing; NaN = no label.
        coverage: What is asked for, by task; tasks without a state are left out.

    Raises:
        DataError: Too few labelled rows, or too few of one class.
    """
    for name in (name for name in states if name in coverage):
        state, of_task, least = states[name], labels[name], least_rows(coverage[name])
        known = of_task[~np.isnan(of_task)]
        found, of_what = len(known), ""
        words = kind_of(state).words(state)
        if words is not None:
            counts = np.bincount(known.astype(np.int64), minlength=len(words))
            found, of_what = int(counts.min()), f" of class '{words[int(counts.argmin())]}'"
        if found < least:
            raise DataError(
                f"task '{name}': calibration.coverage {coverage[name]:g} takes at least {least} labelled rows{of_what} "
                f"in the half of the validation rows that chooses nothing, which has {found}.\n"
                f"  Ask for less coverage, or give the validation side more rows"
            )
