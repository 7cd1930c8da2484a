"""How often something happens.

in      a whole number per row, 0 or more, null = no label
out     <task>.value [rows, 1], the expected count
loss    Poisson deviance of the rate, whose logarithm the head gives, divided by that of the training labels' mean;
        unlike the likelihood it is never negative, and 1.0 is the constant prediction
source  McCullagh and Nelder 1989, Generalized Linear Models, chapter 6
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.tasks.base import Array, LabelColumn, Metric, Part, TaskState
from trunkline.tasks.metrics import SAYS, Resampled, Totals, mean
from trunkline.tasks.number import NumberTask

if TYPE_CHECKING:
    from trunkline.tasks._head import Head


class CountTask(NumberTask):
    """A target that counts: visits, claims, goals. Rows without a label are skipped for this task only."""

    kind: Literal["count"]
    max: float | None = Field(None, ge=0, description="Largest count a row may hold.")
    unit: str | None = Field(None, description="What is counted, as reports and the model card show it.")

    metrics: ClassVar[dict[str, Metric]] = {
        "deviance": Metric(
            True, 1.0, "share of the Poisson deviance that the prediction explains; 0 = predicting the mean"
        ),
        "mae": Metric(False, 0.0, SAYS["mae"]),
    }
    skill_metric: ClassVar[str] = "deviance"
    output_names: ClassVar[tuple[str, ...]] = ("value",)
    promised: ClassVar[str] = "a count the expected one"

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of whole numbers, 0 or more."""
        return {self.target: LabelColumn("target", "number", low=0.0, high=self.max, whole=True)}

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn the mean and the normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], NaN = no label; training rows only.

        Raises:
            DataError: Fewer than two different labels.
        """
        known = self.learned(name, labels, "a count")
        rate = float(known.mean())
        return {
            "kind": "count",
            "labelled": len(known),
            "mean": rate,
            "spread": float(known.std()),
            "bias": [float(np.log(rate))],
            "constant_loss": float(_deviance(known, np.full(len(known), rate)).mean()),
            "outputs": 1,
            "unit": self.unit,
        }

    @staticmethod
    def head() -> Head:
        """Return the log rate's loss and prediction."""
        from trunkline.tasks._count import CountHead

        return CountHead()

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the expected count."""
        return [Part("value", 1, {"unit": state["unit"], "spread": state["spread"]})]

    def skill(self, score: Array, constant: Array) -> Array:
        """Return which share of the constant prediction's deviance a prediction removes.

        Args:
            score: `deviance` of the prediction, any shape.
            constant: `deviance` of the constant prediction on the same rows, a shape that fits.
        """
        return super().skill(1 - score, 1 - constant)

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Counts [rows].
            prediction: Expected counts [rows, 1], above 0.
            state: What was learned from the training labels.
        """
        truth, value = truth.astype(np.float64), prediction[:, 0].astype(np.float64)
        varied = len(truth) > 1 and truth.min() < truth.max()
        of_mean = _deviance(truth, np.full(len(truth), truth.mean())).mean()
        explained = float(1 - _deviance(truth, value).mean() / of_mean) if varied else float("nan")
        return {"deviance": explained, "mae": float(np.abs(truth - value).mean())}

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        truth, value = truth.astype(np.float64), prediction[:, 0].astype(np.float64)
        sums = np.stack([_deviance(truth, value), _times_log(truth), truth])
        return {"deviance": Totals(sums, _explained), "mae": mean(np.abs(truth - value))}

    def constant(self, state: TaskState) -> Array:
        """Return the mean of the training labels [1, 1]."""
        return np.array([[state["mean"]]])


def _times_log(count: Array) -> Array:
    return np.asarray(count * np.log(np.where(count > 0, count, 1.0)))


def _deviance(count: Array, rate: Array) -> Array:
    """Return the Poisson deviance of each row [rows]: 0 where the rate is the count."""
    rate = np.maximum(rate, 1e-12)
    return np.asarray(2 * (_times_log(count) - count * np.log(rate) - count + rate))


def _explained(sums: Any, size: Array) -> Array:
    deviance, times_log, total = sums
    # The deviance of the drawn rows' own mean, from sums alone.
    of_mean = 2 * (times_log - total * np.log(np.maximum(total / size, 1e-300)))
    return np.where(of_mean > 1e-12 * np.maximum(np.abs(times_log), total), 1 - deviance / of_mean, np.nan)
