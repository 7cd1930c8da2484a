"""One class out of several.

in      a word or number per row, null = no label
out     <task>.probability [rows, classes], <task>.label [rows, 1] (string);
        with `calibration.coverage`, <task>.set [rows, classes] (bool): which classes it may be
loss    cross-entropy, divided by the entropy of the training class shares
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.tasks.base import LabelRule, Metric, TaskState
from trunkline.tasks.binary import calibration_error
from trunkline.tasks.metrics import SAYS, Resampled, calibration, f1_macro, mean
from trunkline.tasks.one_word import OneWordTask, of_truth

if TYPE_CHECKING:
    from trunkline.tasks._head import Head


class MulticlassTask(OneWordTask):
    """A target with several classes, of which a row has one."""

    kind: Literal["multiclass"]
    classes: list[str] | None = Field(
        None,
        min_length=2,
        description="The only classes a row may hold, in the order of the outputs. Default: "
        "those of the training rows, in alphabetical order.",
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric(True, 1.0, "share of rows whose likeliest class is the right one"),
        "f1_macro": Metric(True, 1.0, "mean over the classes of the harmonic mean of precision and recall"),
        "log_loss": Metric(False, 0.0, SAYS["log_loss"]),
        "calibration_error": Metric(False, 0.0, SAYS["calibration_error"]),
    }
    skill_metric: ClassVar[str] = "log_loss"

    @property
    def declared(self) -> list[str] | None:
        """The classes in the order of the outputs, where they are declared."""
        return list(self.classes) if self.classes else None

    def fit(self, name: str, labels: np.ndarray[Any, Any]) -> TaskState:
        """Learn classes, their shares and the normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: str objects [rows], None = no label; training rows only.

        Raises:
            DataError: Fewer than two classes among the training labels, or a declared class without rows.
        """
        classes, shares, labelled = self.learned(name, labels, "a multiclass")
        return {
            "kind": "multiclass",
            "labelled": labelled,
            "classes": classes,
            "prevalence": shares.tolist(),
            "bias": np.log(shares).tolist(),
            "constant_loss": float(-(shares * np.log(shares)).sum()),
            "outputs": len(classes),
        }

    @staticmethod
    def head() -> Head:
        """Return the logits' loss and prediction."""
        from trunkline.tasks._multiclass import MulticlassHead

        return MulticlassHead()

    @classmethod
    def label_rule(cls, state: TaskState) -> LabelRule:
        """Return that the label is the likeliest class."""
        return LabelRule(cls.words(state), "likeliest")

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        return f"the likeliest class of {output['task']}" if output["part"] == "label" else super().meaning(output)

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
        places = list(range(probability.shape[1]))
        return {
            "accuracy": float(np.mean(chosen == truth)),
            "f1_macro": float(metrics.f1_score(truth, chosen, labels=places, average="macro", zero_division=0)),
            "log_loss": float(-np.log(of_truth(probability, truth)).mean()),
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
            "log_loss": mean(-np.log(of_truth(probability, truth))),
            "calibration_error": calibration(probability.max(axis=1), chosen == truth),
        }
