"""A number.

in      a number per row in the target's own unit, null = no label
out     <task>.value [rows, 1], in the target's own unit;
        with `calibration.coverage`, <task>.lower and <task>.upper [rows, 1], the ends of an interval around it
loss    squared or Huber error of the target standardised on the training rows, divided by the constant predictor's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trunkline.tasks.base import LabelColumn, Metric, Part, TaskState
from trunkline.tasks.metrics import SAYS, Resampled, mean, r2, root_mean
from trunkline.tasks.number import NumberTask

if TYPE_CHECKING:
    from trunkline.tasks._head import Head

HUBER_DELTA = 1.0  # in training standard deviations


class RegressionTask(NumberTask):
    """A target that is a number."""

    kind: Literal["regression"]
    loss: Literal["squared", "huber"] = Field(
        "squared", description="squared: predicts the mean; huber: far-off rows count linearly from one sd on."
    )
    clip: list[float] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[low, high]: labels are cut to this range for training only, in the target's unit.",
    )
    min: float | None = Field(None, description="Smallest label a row may hold, in the target's unit.")
    max: float | None = Field(None, description="Largest label a row may hold, in the target's unit.")
    unit: str | None = Field(None, description="The target's unit, as reports and the model card show it.")

    metrics: ClassVar[dict[str, Metric]] = {
        "r2": Metric(True, 1.0, "share of the target's variance that the prediction explains; 0 = predicting the mean"),
        "mae": Metric(False, 0.0, SAYS["mae"]),
        "rmse": Metric(False, 0.0, "square root of the mean squared distance, in the target's unit"),
    }
    skill_metric: ClassVar[str] = "rmse"
    skill_power: ClassVar[int] = 2  # squared error, whatever the training's loss
    output_names: ClassVar[tuple[str, ...]] = ("value", "lower", "upper")
    regions: ClassVar[tuple[str, ...]] = ("lower", "upper")
    promised: ClassVar[str] = "a number its value"

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of numbers."""
        return {self.target: LabelColumn("target", "number", low=self.min, high=self.max)}

    @model_validator(mode="after")
    def _ordered(self) -> RegressionTask:
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError(f"clip {self.clip} is empty; give [low, high]")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self

    def fit(self, name: str, labels: np.ndarray[Any, Any]) -> TaskState:
        """Learn scale and normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], NaN = no label; training rows only.

        Raises:
            DataError: Fewer than two different labels.
        """
        known = self.learned(name, labels, "a regression")
        mean_all = float(known.mean())
        if self.clip:
            known = np.clip(known, self.clip[0], self.clip[1])
        center, spread = float(known.mean()), float(known.std())
        scaled = (known - center) / spread
        squared = self.loss == "squared"
        constant = float(np.mean(scaled**2)) if squared else float(np.mean(huber(scaled)))
        return {
            "kind": "regression",
            "labelled": len(known),
            "mean": mean_all,
            "loss": self.loss,
            "clip": self.clip,
            "center": center,
            "spread": spread,
            "bias": [0.0],
            "constant_loss": constant,
            "outputs": 1,
            "unit": self.unit,
        }

    @staticmethod
    def head() -> Head:
        """Return the number's loss and prediction."""
        from trunkline.tasks._regression import RegressionHead

        return RegressionHead()

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the value."""
        return [Part("value", 1, {"unit": state["unit"], "spread": state["spread"]})]

    def scores(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Labels in the target's unit [rows].
            prediction: Values in the target's unit [rows, 1].
            state: What was learned from the training labels.
        """
        from sklearn import metrics

        truth, value = truth.astype(np.float64), prediction[:, 0].astype(np.float64)
        varied = len(truth) > 1 and truth.min() < truth.max()
        return {
            "r2": float(metrics.r2_score(truth, value)) if varied else float("nan"),
            "mae": float(metrics.mean_absolute_error(truth, value)),
            "rmse": float(metrics.root_mean_squared_error(truth, value)),
        }

    def resampled(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        truth, value = truth.astype(np.float64), prediction[:, 0].astype(np.float64)
        return {
            "r2": r2(truth, value),
            "mae": mean(np.abs(truth - value)),
            "rmse": root_mean((truth - value) ** 2),
        }

    def constant(self, state: TaskState) -> np.ndarray[Any, Any]:
        """Return the mean of the training labels [1, 1], in the target's unit."""
        return np.array([[state["mean"]]])


def huber(scaled: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return Huber's loss of errors in training standard deviations."""
    size = np.abs(scaled)
    return np.where(size <= HUBER_DELTA, 0.5 * scaled**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))
