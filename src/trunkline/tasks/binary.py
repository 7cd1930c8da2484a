"""Yes or no.

in      true/false or 0/1, null = no label
out     <task>.probability [rows, 1], the calibrated probability of "yes"; with `threshold`, <task>.label too;
        with `calibration.coverage`, <task>.set [rows, 2] (bool): may it be "no", may it be "yes";
        with `given`, see tasks/given.py, <task>.conditional [rows, 1] too
loss    cross-entropy, divided by the entropy of the training prevalence
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.errors import DataError
from trunkline.tasks.base import BaseTask, Metric, TaskState
from trunkline.tasks.metrics import BINS, Ranking, Resampled, calibration, confidence_bins, mean


class BinaryTask(BaseTask):
    """A target with two values. Rows without a label are skipped for this task only."""

    kind: Literal["binary"]
    threshold: float | None = Field(
        None, gt=0, lt=1, description="Probability from which on <task>.label says 'true'. Default: no label is given."
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "roc_auc": Metric(True, 1.0),
        "average_precision": Metric(True, 1.0),
        "log_loss": Metric(False, 0.0),
        "brier": Metric(False, 0.0),
        "calibration_error": Metric(False, 0.0),
    }
    skill_metric: ClassVar[str] = "log_loss"
    output_names: ClassVar[tuple[str, ...]] = ("probability", "label", "set", "conditional")

    def fit(self, name: str, labels: np.ndarray[Any, Any]) -> TaskState:
        """Learn prevalence and normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], 0, 1 or NaN; training rows only.

        Raises:
            DataError: Only one class, or none, among the training labels.
        """
        known = labels[~np.isnan(labels)]
        positives = int(known.sum())
        if not 0 < positives < len(known):
            raise DataError(
                f"task '{name}': column '{self.target}' has {positives} positives among {len(known)} labelled "
                f"training rows; a binary task needs both classes.\n"
                f"  Check tasks.{name}.target, or train on an earlier period"
            )
        prior = positives / len(known)
        entropy = -(prior * np.log(prior) + (1 - prior) * np.log(1 - prior))
        return {
            "kind": "binary",
            "labelled": len(known),
            "prevalence": prior,
            "bias": [float(np.log(prior / (1 - prior)))],
            "constant_loss": float(entropy),
            "outputs": 1,
            "threshold": self.threshold,
        }

    @staticmethod
    def encode(name: str, target: str, values: np.ndarray[Any, Any], state: TaskState) -> np.ndarray[Any, Any]:
        """Return float32 targets as the loss reads them: 0, 1, NaN for no label."""
        return values.astype(np.float32)

    def scores(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: 0 or 1 [rows].
            prediction: Probability of 1 [rows, 1].
            state: What was learned from the training labels.

        Returns:
            Every metric of the kind; NaN where the rows hold one class only and the metric does not exist.
        """
        from sklearn import metrics

        probability = prediction[:, 0].astype(np.float64)
        both = 0 < truth.sum() < len(truth)
        clipped = _clipped(probability)
        return {
            "roc_auc": float(metrics.roc_auc_score(truth, probability)) if both else float("nan"),
            "average_precision": float(metrics.average_precision_score(truth, probability)) if both else float("nan"),
            "log_loss": float(metrics.log_loss(truth, clipped, labels=[0, 1])),
            "brier": float(np.mean((probability - truth) ** 2)),
            "calibration_error": calibration_error(probability, truth),
        }

    def resampled(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        probability = prediction[:, 0].astype(np.float64)
        ranking, clipped = Ranking(truth, probability), _clipped(probability)
        return {
            "roc_auc": ranking.roc_auc,
            "average_precision": ranking.average_precision,
            "log_loss": mean(-np.log(np.where(truth == 1, clipped, 1 - clipped))),
            "brier": mean((probability - truth) ** 2),
            "calibration_error": calibration(probability, truth),
        }

    def constant(self, state: TaskState) -> np.ndarray[Any, Any]:
        """Return the training prevalence [1, 1]."""
        return np.array([[state["prevalence"]]])


def _clipped(probability: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.clip(probability, 1e-12, 1 - 1e-12))


def calibration_error(confidence: np.ndarray[Any, Any], correct: np.ndarray[Any, Any], bins: int = BINS) -> float:
    """How far stated probabilities lie from observed frequencies, averaged over rows.

    Args:
        confidence: Probabilities [rows], 0 to 1.
        correct: 1 where it came true, else 0 [rows].
        bins: Equal-width bins; each counts by its rows.

    Source:
        Expected calibration error, Guo et al. 2017, arXiv:1706.04599, equation 3.

    Example:
        >>> calibration_error(np.array([0.2, 0.2, 0.2, 0.2, 0.2]), np.array([1, 0, 0, 0, 0]))
        0.0
    """
    place = confidence_bins(confidence, bins)
    gap = np.bincount(place, confidence, bins) - np.bincount(place, correct, bins)
    return float(np.abs(gap).sum() / len(confidence))
