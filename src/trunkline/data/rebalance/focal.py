"""Focal loss: rows that are predicted well hardly count.

in      a row's cross-entropy l = -log p of its class
out     (1 - p) ^ gamma l; with alpha, yes-rows count alpha and no-rows 1 - alpha
source  Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002, equations 4 and 5
Differs: weights have mean 1 over the rows.

What it distorts is no prior shift: confidences are drawn together, the more so the surer they are (Charoenphakdee et
al. 2021, arXiv:2011.09172). The network undoes it exactly, by the transform that turns the loss's minimum back into
the classes' shares (tasks/_focal.py); `prior_shift` is where the head starts, at the best constant prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import Array, BaseRule, Plan

if TYPE_CHECKING:
    from trunkline.tasks import Task


REACH, HALVINGS = 40.0, 60  # of the search for a logit, and for the log of a slope


class Focal(BaseRule):
    """Count rows less that are predicted well. It draws confidences together, which the model undoes exactly."""

    kind: Literal["focal"]
    gamma: float = Field(2.0, gt=0, le=10, description="How fast a well predicted row loses its say.")
    alpha: float | None = Field(
        None, gt=0, lt=1, description="Weight of the yes-rows of a binary task; no-rows get 1 - alpha. Default: equal."
    )

    def problem(self, task: Task) -> str | None:
        """Return what every rule does, and that several classes have no alpha."""
        if self.alpha is not None and task.kind == "multiclass":
            return "weighs yes against no by alpha, which a task of kind multiclass does not have; remove alpha"
        return super().problem(task)

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return gamma as `focus`, the weights of the classes, and the best constant's shift and loss."""
        counts = np.array(list(classes.values()), dtype=np.float64)
        shares = counts / counts.sum()
        weights = np.ones_like(shares) if self.alpha is None else np.array([1 - self.alpha, self.alpha])
        seen = shares * weights / (shares @ weights)
        constant = best_constant(seen, self.gamma)
        return {
            "focus": self.gamma,
            "class_weights": dict(zip(classes, (seen / shares).tolist(), strict=True)),
            "prior_shift": dict(zip(classes, np.log(constant / shares).tolist(), strict=True)),
            "constant_loss": float(-(seen @ ((1 - constant) ** self.gamma * np.log(constant)))),
        }


def best_constant(shares: Array, gamma: float) -> Array:
    """Return the probabilities of the classes whose focal loss is least where they have these shares.

    There share times slope of the loss, phi(p) / p, is the same for every class.

    Example:
        >>> best_constant(np.array([0.5, 0.5]), 2.0).tolist()
        [0.5, 0.5]
        >>> best_constant(np.array([0.9, 0.1]), 2.0).round(3).tolist()
        [0.694, 0.306]
    """

    def log_slope(logit: Array) -> Array:
        p, rest = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
        return np.asarray((gamma - 1) * np.log(rest) + np.log(rest / p + gamma * np.logaddexp(0, -logit)))

    def logits(level: float) -> Array:
        """Return where the loss of each class falls as steeply as `level` says."""
        return bisected(lambda each: np.log(shares) + log_slope(each) > level, np.full_like(shares, -REACH))

    def too_steep(level: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.array([(1 / (1 + np.exp(-logits(level[0])))).sum() > 1])

    found = 1 / (1 + np.exp(-logits(bisected(too_steep, np.array([-REACH]))[0])))
    probabilities: Array = found / found.sum()
    return probabilities


def bisected(above: Callable[[Array], np.ndarray[Any, np.dtype[np.bool_]]], low: Array) -> Array:
    """Return where `above` turns from true to false, between `low` and `-low`."""
    high = -low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        up = above(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return (low + high) / 2
