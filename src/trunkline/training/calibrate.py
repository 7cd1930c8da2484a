"""Correct how sure a head is, and on request also its level, on validation rows that chose nothing.

    output' = bias + slope (output - bias) + shift

where bias is the logit of the training prevalence, and 0 for a number on its training scale.

slope   The slope of the logits is fitted together with an intercept, and the intercept is then thrown away: the
        validation period may be calmer or rougher than the one to come, and its level must not be folded into the
        model. What remains says only whether confidences are too far apart (slope below 1) or too close. The shift
        keeps the mean prediction what it was before. Numbers stay as they are.
affine  The intercept stays too: the level becomes that of the validation rows, for every class its own. Numbers get
        the scale and shift of least squares. For validation rows that are like the rows to come.

source  Platt 1999; temperature scaling and its forms with intercepts, Guo et al. 2017, arXiv:1706.04599.
Differs: `slope` discards the intercept, for the reason above; a multiclass head gets one slope for all classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trunkline.tasks._head import Correction
from trunkline.tasks._modules import head_of
from trunkline.tasks.base import TaskState

Array = np.ndarray[Any, Any]


def fit_corrections(
    states: Mapping[str, TaskState], outputs: Array, targets: Array, kind: str
) -> dict[str, Correction]:
    """Return slope and shift of every task.

    Args:
        states: The tasks' states by name, in the order of the heads.
        outputs: The heads' outputs on the validation rows that chose nothing, float32 [rows, outputs].
        targets: What the losses read, float32 [rows, tasks]; NaN = no label.
        kind: "slope", "affine" or "none".
    """
    if kind == "none":
        return dict.fromkeys(states, Correction())
    heads = head_slices(states)
    return {
        name: fit_correction(state, outputs[:, heads[name]], targets[:, place], kind)
        for place, (name, state) in enumerate(states.items())
    }


def uncorrected(states: Mapping[str, TaskState]) -> dict[str, dict[str, str]]:
    """Return, under "uncorrected", why some tasks stay as trained; nothing where none does."""
    found = {name: head_of(state).uncorrected for name, state in states.items() if head_of(state).uncorrected}
    return {"uncorrected": found} if found else {}


def head_slices(states: Mapping[str, TaskState]) -> dict[str, slice]:
    """Return which of the outputs of all heads are a task's."""
    ends = np.cumsum([state["outputs"] for state in states.values()]).tolist()
    return {name: slice(end - state["outputs"], end) for (name, state), end in zip(states.items(), ends, strict=True)}


def fit_correction(state: TaskState, outputs: Array, targets: Array, kind: str = "slope") -> Correction:
    """Return slope and shift of one task.

    Args:
        state: The task's state.
        outputs: The head's outputs, float [rows, outputs].
        targets: What the loss reads, float [rows]: 0/1, the class's place, or a number on its training scale
            (cut to `clip`); NaN = no label.
        kind: "slope" or "affine".

    Returns:
        The slope, within 0.25 to 4, and the shift, one per class where the kind is affine and the classes are
        several; (1, 0) for numbers where the kind is slope, and where a class has under 50 rows.
    """
    known = ~np.isnan(targets)
    outputs, targets = outputs[known].astype(np.float64), targets[known]
    return head_of(state).correction(state, outputs, targets, kind)
