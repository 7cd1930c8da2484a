"""Correct how sure a classification head is, on validation rows that chose nothing.

logit' = bias + slope (logit - bias) + shift, where bias is the training prevalence's logit. The slope is fitted
together with an intercept, and the intercept is then thrown away: the validation period may be calmer or rougher
than the one to come, and its level must not be folded into the model. What remains says only whether confidences
are too far apart (slope below 1) or too close. The shift keeps the mean prediction what it was before.

source  Platt 1999; temperature scaling, Guo et al. 2017, arXiv:1706.04599.
Differs: the intercept is discarded, for the reason above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trunkline.tasks._modules import Correction
from trunkline.tasks.base import TaskState

SLOPE_RANGE = (0.25, 4.0)
FEWEST_ROWS = 50  # of each class; with fewer the slope is noise and stays 1


def fit_correction(state: TaskState, outputs: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> Correction:
    """Return slope and shift of one task.

    Args:
        state: The task's state.
        outputs: The head's outputs, float [rows, outputs].
        targets: float [rows]: 0/1, or the class's place; NaN = no label.

    Returns:
        The slope, within 0.25 to 4, and the shift; (1, 0) for numbers, and where a class has under 50 rows.
    """
    known = ~np.isnan(targets)
    if state["kind"] == "regression" or not known.any():
        return 1.0, 0.0
    outputs, truth = outputs[known].astype(np.float64), targets[known].astype(np.int64)
    if state["kind"] == "binary":
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        bias = np.array([0.0, *state["bias"]])
    else:
        bias = np.array(state["bias"])
    if np.bincount(truth, minlength=len(bias)).min() < FEWEST_ROWS:
        return 1.0, 0.0
    low, high = SLOPE_RANGE
    slope = float(np.clip(_likeliest_slope(outputs - bias, bias, truth), low, high))
    return slope, _level_shift(outputs[:, 1], bias[1], slope) if state["kind"] == "binary" else 0.0


def _level_shift(logits: np.ndarray[Any, Any], bias: float, slope: float) -> float:
    """Return the shift after which the mean probability is what it was without any correction."""
    from scipy.optimize import brentq
    from scipy.special import expit

    level, sloped = expit(logits).mean(), bias + slope * (logits - bias)
    return float(brentq(lambda shift: expit(sloped + shift).mean() - level, -20.0, 20.0, xtol=1e-9))


def _likeliest_slope(distance: np.ndarray[Any, Any], bias: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    from scipy.optimize import minimize

    rows = np.arange(len(truth))

    def loss(parameters: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        logits = parameters[0] * distance + bias + np.concatenate([[0.0], parameters[1:]])
        logits -= logits.max(axis=1, keepdims=True)
        exponential = np.exp(logits)
        probability = exponential / exponential.sum(axis=1, keepdims=True)
        value = -float(np.mean(np.log(probability[rows, truth] + 1e-300)))
        probability[rows, truth] -= 1
        gradient = np.concatenate([[np.mean((probability * distance).sum(axis=1))], probability[:, 1:].mean(axis=0)])
        return value, gradient

    start = np.concatenate([[1.0], np.zeros(len(bias) - 1)])
    return float(minimize(loss, start, jac=True, method="L-BFGS-B").x[0])
