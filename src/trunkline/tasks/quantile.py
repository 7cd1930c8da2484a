"""How a number is spread: several of its quantiles.

in      a number per row in the target's own unit, null = no label
out     <task>.quantiles [rows, quantiles], which never cross, and <task>.value [rows, 1], the median or the quantile
        nearest to it; both in the target's own unit
loss    pinball error, mean over the quantiles, of the target standardised on the training rows, divided by that of the
        training labels' own quantiles
source  Koenker and Bassett 1978, Regression Quantiles. The head gives the middle quantile and the distances between
        neighbours, each made positive, so that the order holds by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from trunkline.tasks.base import (
    Array,
    LabelColumn,
    Measure,
    Metric,
    Part,
    TaskState,
)
from trunkline.tasks.metrics import Resampled, Totals, mean
from trunkline.tasks.number import NumberTask

if TYPE_CHECKING:
    from trunkline.tasks._head import Head

LEAST_DISTANCE = 0.01  # between neighbours at the start, in standard deviations; a distance of 0 could not be learned


class QuantileTask(NumberTask):
    """A target that is a number, of which not one value is wanted but how it is spread."""

    kind: Literal["quantile"]
    quantiles: list[float] = Field(
        [0.1, 0.5, 0.9], min_length=1, description="The quantiles that are given, ascending, each above 0 and below 1."
    )
    min: float | None = Field(None, description="Smallest label a row may hold, in the target's unit.")
    max: float | None = Field(None, description="Largest label a row may hold, in the target's unit.")
    unit: str | None = Field(None, description="The target's unit, as reports and the model card show it.")

    metrics: ClassVar[dict[str, Metric]] = {
        "pinball": Metric(False, 0.0, "mean over the quantiles of the pinball error, in the target's unit"),
        "coverage_error": Metric(
            False, 0.0, "how far the share of labels at or below a quantile lies from it on average"
        ),
        "mae": Metric(False, 0.0, "of quantiles the mean distance of the middle one from the target"),
    }
    skill_metric: ClassVar[str] = "pinball"
    output_names: ClassVar[tuple[str, ...]] = ("quantiles", "value")
    promised: ClassVar[str] = "quantiles the share of labels at or below each"
    promises: ClassVar[Literal["share", "number"]] = "share"
    charted: ClassVar[tuple[str, str | None, str | None]] = (
        "bars: middle quantiles, dashes: labels",
        "prediction",
        "label",
    )

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, quantiles: list[float]) -> list[float]:
        if any(low >= high for low, high in pairwise([0.0, *quantiles, 1.0])):
            raise ValueError(f"{quantiles} must ascend and lie above 0 and below 1, such as [0.1, 0.5, 0.9]")
        return quantiles

    @model_validator(mode="after")
    def _in_order(self) -> QuantileTask:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of numbers."""
        return {self.target: LabelColumn("target", "number", low=self.min, high=self.max)}

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn scale, quantiles and normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], NaN = no label; training rows only.

        Raises:
            DataError: Fewer than two different labels.
        """
        known = self.learned(name, labels, "a quantile")
        levels = np.array(self.quantiles)
        middle = int(np.abs(levels - 0.5).argmin())
        center, spread = float(known.mean()), float(known.std())
        constants = np.quantile(known, levels)
        scaled = (constants - center) / spread
        distances = np.maximum(np.diff(scaled), LEAST_DISTANCE)
        start = _from_distances(scaled[middle], distances, middle)
        return {
            "kind": "quantile",
            "labelled": len(known),
            "quantiles": self.quantiles,
            "middle": middle,
            "center": center,
            "spread": spread,
            "constants": constants.tolist(),
            "bias": np.insert(np.log(np.expm1(distances)), middle, scaled[middle]).tolist(),
            "constant_loss": float(_pinball((known - center) / spread, start[None], levels).mean()),
            "outputs": len(levels),
            "unit": self.unit,
        }

    @staticmethod
    def head() -> Head:
        """Return the quantiles' loss and prediction."""
        from trunkline.tasks._quantile import QuantileHead

        return QuantileHead()

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the quantiles, and the middle one by itself."""
        facts = {"unit": state["unit"], "spread": state["spread"]}
        words = [f"{level:g}" for level in state["quantiles"]]
        return [Part("quantiles", len(words), {"classes": words, **facts}), Part("value", 1, facts)]

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        unit = f"in {output['unit'] or 'the unit of its target'}"
        if output["part"] == "quantiles":
            return f"quantiles {', '.join(output['classes'])} of {output['task']}, {unit}"
        return f"the median of {output['task']}, or the quantile nearest to it, {unit}"

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Labels in the target's unit [rows].
            prediction: Quantiles in the target's unit [rows, quantiles].
            state: What was learned from the training labels.
        """
        pinball, below, distance, levels = self._of_rows(truth, prediction)
        return {
            "pinball": float(pinball.mean()),
            "coverage_error": float(np.abs(below.mean(axis=0) - levels).mean()),
            "mae": float(distance.mean()),
        }

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        pinball, below, distance, levels = self._of_rows(truth, prediction)

        def off(sums: Array, size: Array) -> Array:
            return np.asarray(np.abs(sums / size - levels[:, None]).mean(axis=0))

        return {
            "pinball": mean(pinball),
            "coverage_error": Totals(np.ascontiguousarray(below.T, dtype=np.float64), off),
            "mae": mean(distance),
        }

    def _of_rows(self, truth: Array, prediction: Array) -> tuple[Array, Array, Array, Array]:
        """Return per row pinball error, whether it lies below each quantile, and distance to the middle; the levels."""
        levels, truth, found = np.array(self.quantiles), truth.astype(np.float64), prediction.astype(np.float64)
        middle = found[:, int(np.abs(levels - 0.5).argmin())]
        return _pinball(truth, found, levels), truth[:, None] <= found, np.abs(truth - middle), levels

    def constant(self, state: TaskState) -> Array:
        """Return the quantiles of the training labels [1, quantiles], in the target's unit."""
        return np.array([state["constants"]])

    @classmethod
    def promise(cls, state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
        """Return every quantile's level, and whether the label lies at or below it, [rows x quantiles]."""
        below = labels[:, None] <= prediction
        return np.tile(np.array(state["quantiles"]), len(labels)), below.astype(np.float64).ravel()

    @classmethod
    def spread(cls, state: TaskState, prediction: Array, labels: Array) -> dict[str, Array]:
        """Return labels, and the middle quantiles."""
        return {"label": labels, "prediction": prediction[:, state["middle"]]}

    def group_measures(self, state: TaskState, prediction: Array, labels: Array) -> Iterator[Measure]:
        """Yield the share of labels at or below each quantile, and the distance of the middle one."""
        known = ~np.isnan(labels)
        labels = np.where(known, labels, 0.0)
        for place, level in enumerate(state["quantiles"]):
            yield Measure(f"below.{level:g}", (labels <= prediction[:, place]) & known, known, True)
        yield Measure("mae", np.abs(labels - prediction[:, state["middle"]]) * known, known, False)


def _pinball(truth: Array, found: Array, levels: Array) -> Array:
    """Return the pinball error of each row, mean over the quantiles [rows]."""
    error = truth[:, None] - found
    return np.asarray(np.maximum(levels * error, (levels - 1) * error).mean(axis=1))


def _from_distances(middle_value: float, distances: Array, middle: int) -> Array:
    steps = np.concatenate([[0.0], distances.cumsum()])
    return np.asarray(middle_value + steps - steps[middle])
