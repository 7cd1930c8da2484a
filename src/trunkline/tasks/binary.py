"""Yes or no.

in      true/false, yes/no or 0/1, null = no label
out     <task>.probability [rows, 1], the calibrated probability of "yes"; with `threshold`, <task>.label too;
        with `calibration.coverage`, <task>.set [rows, 2] (bool): may it be "no", may it be "yes";
        with `given`, see tasks/given.py, <task>.conditional [rows, 1] too
loss    cross-entropy, divided by the entropy of the training prevalence
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.errors import DataError
from trunkline.tasks.base import LabelColumn, LabelRule, Measure, Metric, Part, Summary, TargetTask, TaskState
from trunkline.tasks.metrics import BINS, SAYS, Ranking, Resampled, calibration, confidence_bins, mean

if TYPE_CHECKING:
    import polars as pl

    from trunkline.tasks._head import Head


class BinaryTask(TargetTask):
    """A target with two values. Rows without a label are skipped for this task only."""

    kind: Literal["binary"]
    threshold: float | None = Field(
        None, gt=0, lt=1, description="Probability from which on <task>.label says 'true'. Default: no label is given."
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "roc_auc": Metric(
            True, 1.0, "chance that a row with a yes gets a higher probability than a row with a no; 0.5 = guessing"
        ),
        "average_precision": Metric(True, 1.0, "mean precision over all recalls; guessing gives the base rate"),
        "log_loss": Metric(False, 0.0, SAYS["log_loss"]),
        "brier": Metric(False, 0.0, "mean squared distance of the probability from what came true"),
        "calibration_error": Metric(False, 0.0, SAYS["calibration_error"]),
    }
    skill_metric: ClassVar[str] = "log_loss"
    output_names: ClassVar[tuple[str, ...]] = ("probability", "label", "set", "conditional")
    regions: ClassVar[tuple[str, ...]] = ("set",)
    promised: ClassVar[str] = "a yes or no the probability of yes"
    promises: ClassVar[Literal["share", "number"]] = "share"
    spreads: ClassVar[Literal["share", "number"]] = "share"
    charted: ClassVar[tuple[str, str | None, str | None]] = (
        "bars: rows that were true, dashes: false",
        "true",
        "false",
    )

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of true/false."""
        return {self.target: LabelColumn("target", "truth")}

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
    def encode(values: np.ndarray[Any, Any], state: TaskState) -> np.ndarray[Any, Any]:
        """Return float32 targets as the loss reads them: 0, 1, NaN for no label."""
        return values.astype(np.float32)

    def summary(self, *labels: pl.Series) -> Summary:
        """Return rows of "false" and "true", and the share of "true"."""
        known = labels[0].drop_nulls()
        positives = int(known.sum())
        classes = {"false": len(known) - positives, "true": positives}
        return Summary(len(known), classes, positives / len(known) if len(known) else None)

    @staticmethod
    def head() -> Head:
        """Return the logit's loss and prediction."""
        from trunkline.tasks._binary import BinaryHead

        return BinaryHead()

    @staticmethod
    def words(state: TaskState) -> list[str]:
        """Return "false" and "true"."""
        return ["false", "true"]

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the probability of "yes"."""
        return [Part("probability", 1, {})]

    @classmethod
    def label_rule(cls, state: TaskState) -> LabelRule | None:
        """Return the declared threshold, if there is one."""
        threshold = state.get("threshold")
        return None if threshold is None else LabelRule(cls.words(state), "threshold", threshold)

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        if output["part"] == "label":
            return f"true from {output['threshold']} on"
        if output["part"] == "probability":
            return f"calibrated probability that {output['task']} is true"
        return super().meaning(output)

    @classmethod
    def spread(
        cls, state: TaskState, prediction: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return the probability of "true", apart for rows that were "false" and "true"."""
        return {word: prediction[labels == place, 0] for place, word in enumerate(cls.words(state))}

    def cut(self, state: TaskState) -> tuple[float, str]:
        """Return the probability from which on a row is selected, and where it is from.

        It is the declared threshold, else the share of positives in training: what a row must reach to be likelier
        positive than most.
        """
        if self.threshold is not None:
            return self.threshold, "declared"
        return float(state["prevalence"]), "training prevalence"

    def group_measures(
        self, state: TaskState, prediction: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> Iterator[Measure]:
        """Yield selection rate, true and false positive rate, and how far probabilities lie from what came."""
        known = ~np.isnan(labels)
        labels = np.where(known, labels, 0.0)
        selected = prediction[:, 0] >= np.float32(self.cut(state)[0])  # as the exported graph compares
        positive, negative = known & (labels == 1), known & (labels == 0)
        yield Measure("selection_rate", selected, np.ones(len(labels)), True)
        yield Measure("true_positive_rate", selected & positive, positive, True)
        yield Measure("false_positive_rate", selected & negative, negative, True)
        yield Measure("calibration", (prediction[:, 0] - labels) * known, known, False)

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
