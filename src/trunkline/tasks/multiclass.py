"""One class out of several.

in      a word or number per row, null = no label
out     <task>.probability [rows, classes], <task>.label [rows, 1] (string);
        with `calibration.coverage`, <task>.set [rows, classes] (bool): which classes it may be
loss    cross-entropy, divided by the entropy of the training class shares
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.errors import DataError
from trunkline.tasks.base import BaseTask, Metric, TaskState
from trunkline.tasks.binary import calibration_error
from trunkline.tasks.metrics import Resampled, calibration, f1_macro, mean


class MulticlassTask(BaseTask):
    """A target with several classes, of which a row has one."""

    kind: Literal["multiclass"]
    classes: list[str] | None = Field(
        None,
        min_length=2,
        description="The only classes a row may hold, in the order of the outputs. Default: "
        "those of the training rows, in alphabetical order.",
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric(True, 1.0),
        "f1_macro": Metric(True, 1.0),
        "log_loss": Metric(False, 0.0),
        "calibration_error": Metric(False, 0.0),
    }
    skill_metric: ClassVar[str] = "log_loss"
    output_names: ClassVar[tuple[str, ...]] = ("probability", "label", "set")

    def fit(self, name: str, labels: np.ndarray[Any, Any]) -> TaskState:
        """Learn classes, their shares and the normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: str objects [rows], None = no label; training rows only.

        Raises:
            DataError: Fewer than two classes among the training labels, or a declared class without rows.
        """
        known = np.array([label for label in labels if label is not None], dtype=str)
        found, counts = np.unique(known, return_counts=True)
        classes = list(self.classes) if self.classes else [str(word) for word in found]
        count_of = dict(zip(found.tolist(), counts.tolist(), strict=True))
        empty = [word for word in classes if not count_of.get(word)]
        if len(classes) < 2 or empty:
            lacking = f"no training row of class {empty[0]!r}" if empty else f"classes {classes}"
            raise DataError(
                f"task '{name}': column '{self.target}' has {lacking} among {len(known)} labelled training rows; "
                f"a multiclass task needs two or more, each with rows.\n"
                f"  Check tasks.{name}.target and tasks.{name}.classes, or train on an earlier period"
            )
        shares = np.array([count_of[word] for word in classes]) / sum(count_of[word] for word in classes)
        return {
            "kind": "multiclass",
            "labelled": len(known),
            "classes": classes,
            "prevalence": shares.tolist(),
            "bias": np.log(shares).tolist(),
            "constant_loss": float(-(shares * np.log(shares)).sum()),
            "outputs": len(classes),
        }

    @staticmethod
    def encode(name: str, target: str, values: np.ndarray[Any, Any], state: TaskState) -> np.ndarray[Any, Any]:
        """Return float32 targets as the loss reads them: the class's place, NaN for no label or an unknown class."""
        place = {word: float(at) for at, word in enumerate(state["classes"])}
        return np.array(
            [place.get(value, np.nan) if value is not None else np.nan for value in values], dtype=np.float32
        )

    def scores(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Places of the true classes [rows].
            prediction: Probabilities [rows, classes].
            state: What was learned from the training labels.
        """
        from sklearn import metrics

        truth = truth.astype(np.int64)
        probability = prediction.astype(np.float64)
        chosen = probability.argmax(axis=1)
        of_truth = _of_truth(probability, truth)
        places = list(range(probability.shape[1]))
        return {
            "accuracy": float(np.mean(chosen == truth)),
            "f1_macro": float(metrics.f1_score(truth, chosen, labels=places, average="macro", zero_division=0)),
            "log_loss": float(-np.log(of_truth).mean()),
            "calibration_error": calibration_error(probability.max(axis=1), chosen == truth),
        }

    def resampled(
        self, truth: np.ndarray[Any, Any], prediction: np.ndarray[Any, Any], state: TaskState
    ) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        truth = truth.astype(np.int64)
        probability = prediction.astype(np.float64)
        chosen = probability.argmax(axis=1)
        return {
            "accuracy": mean(chosen == truth),
            "f1_macro": f1_macro(truth, chosen, probability.shape[1]),
            "log_loss": mean(-np.log(_of_truth(probability, truth))),
            "calibration_error": calibration(probability.max(axis=1), chosen == truth),
        }

    def constant(self, state: TaskState) -> np.ndarray[Any, Any]:
        """Return the classes' shares of the training rows [1, classes]."""
        return np.array([state["prevalence"]])


def _of_truth(probability: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the probability that each row's true class was given, float64 [rows]."""
    return np.asarray(np.clip(probability[np.arange(len(truth)), truth], 1e-12, 1))
