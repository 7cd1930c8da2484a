"""Slopes and intercepts of logits and numbers, as calibration fits them; see training/calibrate.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from trunkline.tasks._head import Correction

Array = np.ndarray[Any, Any]

SLOPE_RANGE = (0.25, 4.0)
FEWEST_ROWS = 50  # of each class, or of numbers; with fewer the fit is noise and the head stays as it is


def least_squares(outputs: Array, targets: Array) -> Correction:
    """Return slope and shift of a number by least squares; as it is with under 50 rows."""
    if len(targets) < FEWEST_ROWS:
        return Correction()
    mean, distance = outputs.mean(), outputs - outputs.mean()
    spread = float(distance @ distance)
    slope = float(np.clip(distance @ targets / spread, *SLOPE_RANGE)) if spread else 1.0
    return Correction(slope, float(targets.mean() - slope * mean))


def level_shift(logits: Array, bias: float, slope: float) -> float:
    """Return the shift after which the mean probability is what it was without any correction."""
    from scipy.optimize import brentq
    from scipy.special import expit

    level, sloped = expit(logits).mean(), bias + slope * (logits - bias)
    return float(brentq(lambda shift: expit(sloped + shift).mean() - level, -20.0, 20.0, xtol=1e-9))


def likeliest(distance: Array, bias: Array, truth: Array) -> tuple[float, tuple[float, ...]]:
    """Return the slope and the intercepts under which the labels are likeliest; the first class's intercept is 0."""
    from scipy.optimize import minimize

    rows = np.arange(len(truth))

    def loss(parameters: Array) -> tuple[float, Array]:
        logits = parameters[0] * distance + bias + np.concatenate([[0.0], parameters[1:]])
        logits -= logits.max(axis=1, keepdims=True)
        exponential = np.exp(logits)
        probability = exponential / exponential.sum(axis=1, keepdims=True)
        value = -float(np.mean(np.log(probability[rows, truth] + 1e-300)))
        probability[rows, truth] -= 1
        gradient = np.concatenate([[np.mean((probability * distance).sum(axis=1))], probability[:, 1:].mean(axis=0)])
        return value, gradient

    start = np.concatenate([[1.0], np.zeros(len(bias) - 1)])
    bounds = [SLOPE_RANGE, *[(None, None)] * (len(bias) - 1)]
    slope, *intercepts = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return slope, (0.0, *intercepts)


def likeliest_logits(distance: Array, bias: Array, truth: Array) -> tuple[float, tuple[float, ...]]:
    """Return one slope for several logits and an intercept for each, under which their answers are likeliest.

    Args:
        distance: Logits minus their bias, float64 [rows, logits].
        bias: Of each logit [logits].
        truth: 1, 0, or NaN where nothing is asked, float64 [rows, logits]. A logit that is always answered the same
            keeps its intercept at 0.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    asked = ~np.isnan(truth)
    answers = np.where(asked, truth, 0.0)
    count, yes = asked.sum(), answers.sum(axis=0)
    mixed = (yes > 0) & (yes < asked.sum(axis=0))

    def loss(parameters: Array) -> tuple[float, Array]:
        logits = parameters[0] * distance + bias + parameters[1:]
        gap = np.where(asked, expit(logits) - answers, 0.0)
        value = np.where(asked, np.logaddexp(0.0, logits) - answers * logits, 0.0).sum() / count
        return float(value), np.concatenate([[np.sum(gap * distance)], gap.sum(axis=0)]) / count

    bounds = [SLOPE_RANGE, *[(-10.0, 10.0) if both else (0.0, 0.0) for both in mixed]]
    start = np.concatenate([[1.0], np.zeros(len(bias))])
    slope, *intercepts = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return slope, tuple(intercepts)
