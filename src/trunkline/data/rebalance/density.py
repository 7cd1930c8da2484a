"""Label-density weights: a number counts the more, the rarer numbers like it are.

in      the training labels of a number
out     w(y) = (smoothed share of labels near y) ^ -power, at most `cap` times the least, with mean 1 over the rows
source  Yang et al. 2021, "Delving into Deep Imbalanced Regression", arXiv:2102.09554, section 3.1 (smoothed label
        density, its inverse and inverse square root); Steininger et al. 2021, doi:10.1007/s10994-021-06023-5 (the same
        idea with a kernel density)
Differs: capped against the least weight, so that a single far-off label cannot outweigh a hundred others.

No shift undoes it: the head predicts the mean of a world in which rare numbers are common, so that predictions lean
towards the rare end wherever the inputs leave them open, and are right on the whole only for rows that the inputs
decide. `calibration.kind: affine` takes the mean of that off. The head starts at the weighted mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import Array, BaseRule, Plan

if TYPE_CHECKING:
    from trunkline.tasks import Task

BINS = 100  # of equal width, between the rarest thousandths of the labels
WIDTH = 2.0  # of the smoothing kernel, its standard deviation in bins


class Density(BaseRule):
    """Rare numbers count more: for a skewed target whose tail matters more than its mean."""

    kind: Literal["density"]
    power: float = Field(0.5, ge=0, le=1, description="1: all stretches of the target count the same; 0: as equal.")
    cap: float = Field(10.0, ge=1, description="Most that a row counts, as a multiple of the row that counts least.")
    suits: ClassVar[tuple[str, ...]] = ("regression",)

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return `density`, weights at labels in the target's unit, and the best constant's `start` and loss."""
        from trunkline.tasks.regression import huber

        assert task.kind == "regression"
        labels = known.astype(np.float64)
        cut = np.clip(labels, task.clip[0], task.clip[1]) if task.clip else labels
        knots, weights = self._weights(cut)
        of_rows = np.interp(cut, knots, weights)
        weights, of_rows = weights / of_rows.mean(), of_rows / of_rows.mean()
        scaled = (cut - cut.mean()) / cut.std()
        start = float((of_rows * scaled).mean())
        error = np.square if task.loss == "squared" else huber
        return {
            "density": {"labels": knots.tolist(), "weights": weights.tolist()},
            "start": start,
            "constant_loss": float((of_rows * error(scaled - start)).mean()),
        }

    def _weights(self, labels: Array) -> tuple[Array, Array]:
        """Return the middles of the bins and what a label there counts."""
        edges = np.linspace(np.quantile(labels, 0.001), np.quantile(labels, 0.999), BINS + 1)
        if edges[0] == edges[-1]:  # all but a few labels are one number
            edges = np.linspace(labels.min(), labels.max(), BINS + 1)
        counts = np.histogram(np.clip(labels, edges[0], edges[-1]), edges)[0].astype(np.float64)
        distance = np.arange(BINS)[:, None] - np.arange(BINS)
        kernel = np.exp(-0.5 * (distance / WIDTH) ** 2)
        # Beyond the ends there is no label to smooth with; the kernel's rows still sum to 1.
        near = (kernel / kernel.sum(axis=1, keepdims=True)) @ counts
        weights = np.maximum(near, 1e-12) ** -self.power
        return (edges[:-1] + edges[1:]) / 2, np.minimum(weights, self.cap * weights.min())
