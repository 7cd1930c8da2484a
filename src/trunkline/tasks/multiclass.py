"""One class out of several.

in      a word or number per row, null = no label
out     <task>.probability [rows, classes], <task>.label [rows, 1] (string);
        with `calibration.coverage`, <task>.set [rows, classes] (bool): which classes it may be
loss    cross-entropy, divided by the entropy of the training class shares
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.errors import DataError
from trunkline.tasks.base import LabelColumn, LabelRule, Measure, Metric, Part, Summary, TargetTask, TaskState
from trunkline.tasks.binary import calibration_error
from trunkline.tasks.metrics import SAYS, Resampled, calibration, f1_macro, mean

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from trunkline.tasks._head import Head


class MulticlassTask(TargetTask):
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
    output_names: ClassVar[tuple[str, ...]] = ("probability", "label", "set")
    regions: ClassVar[tuple[str, ...]] = ("set",)
    promised: ClassVar[str] = "several classes the probability of the likeliest"
    promises: ClassVar[Literal["share", "number"]] = "share"
    charted: ClassVar[tuple[str, str | None, str | None]] = ("probability given to the true class", None, None)

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of words."""
        return {self.target: LabelColumn("target", "words", words=self.classes, allowed="classes")}

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
    def encode(values: np.ndarray[Any, Any], state: TaskState) -> np.ndarray[Any, Any]:
        """Return float32 targets as the loss reads them: the class's place, NaN for no label or an unknown class."""
        place = {word: float(at) for at, word in enumerate(state["classes"])}
        return np.array(
            [place.get(value, np.nan) if value is not None else np.nan for value in values], dtype=np.float32
        )

    def read(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Return the words, str objects [rows], None = no label."""
        return np.asarray(table[self.target].to_numpy(), dtype=object)

    def summary(self, *labels: pl.Series) -> Summary:
        """Return rows and shares of the classes, in the order of the outputs."""
        known = labels[0].drop_nulls()
        found = dict(known.value_counts().iter_rows())
        classes = {word: int(found.get(word, 0)) for word in self.classes or sorted(found)}
        total = sum(classes.values())
        prior = {word: count / total for word, count in classes.items()} if total else None
        return Summary(len(known), classes, prior)

    @staticmethod
    def head() -> Head:
        """Return the logits' loss and prediction."""
        from trunkline.tasks._multiclass import MulticlassHead

        return MulticlassHead()

    @staticmethod
    def words(state: TaskState) -> list[str]:
        """Return the classes in the order of the outputs."""
        return list(state["classes"])

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the probability of each class."""
        return [Part("probability", state["outputs"], {"classes": state["classes"]})]

    @classmethod
    def label_rule(cls, state: TaskState) -> LabelRule:
        """Return that the label is the likeliest class."""
        return LabelRule(cls.words(state), "likeliest")

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        if output["part"] == "label":
            return f"the likeliest class of {output['task']}"
        if output["part"] == "probability":
            return f"calibrated probability of {', '.join(output['classes'])}"
        return super().meaning(output)

    @classmethod
    def promise(
        cls, state: TaskState, prediction: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the probability of the likeliest class, and whether it was the one."""
        return prediction.max(axis=1).astype(np.float64), (prediction.argmax(axis=1) == labels).astype(np.float64)

    @classmethod
    def spread(
        cls, state: TaskState, prediction: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return per class the probability that its own rows got for it."""
        return {word: prediction[labels == place, place] for place, word in enumerate(cls.words(state))}

    def group_measures(
        self, state: TaskState, prediction: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
    ) -> Iterator[Measure]:
        """Yield the accuracy, and how often each class is the likeliest."""
        known, chosen = ~np.isnan(labels), prediction.argmax(axis=1)
        yield Measure("accuracy", (chosen == labels) & known, known, True)
        for place, name in enumerate(self.words(state)):
            yield Measure(f"selection_rate.{name}", chosen == place, np.ones(len(labels)), True)

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
