"""What kinds have in common whose label is one word of several, ordered or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from trunkline.errors import DataError
from trunkline.tasks.base import Array, LabelColumn, Measure, Part, Summary, TargetTask, TaskState

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class OneWordTask(TargetTask):
    """A target with several classes, of which a row has one."""

    output_names: ClassVar[tuple[str, ...]] = ("probability", "label", "set")
    regions: ClassVar[tuple[str, ...]] = ("set",)
    promised: ClassVar[str] = "several classes the probability of the likeliest"
    promises: ClassVar[Literal["share", "number"]] = "share"
    spreads: ClassVar[Literal["share", "number"]] = "share"
    charted: ClassVar[tuple[str, str | None, str | None]] = ("probability given to the true class", None, None)

    @property
    def declared(self) -> list[str] | None:
        """The classes in the order of the outputs, where they are declared."""
        raise NotImplementedError

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """One column of words."""
        return {self.target: LabelColumn("target", "words", words=self.declared, allowed="classes")}

    def read(self, table: pa.Table) -> Array:
        """Return the words, str objects [rows], None = no label."""
        return np.asarray(table[self.target].to_numpy(), dtype=object)

    def learned(self, name: str, labels: Array, kind: str) -> tuple[list[str], Array, int]:
        """Return classes, their shares of the training labels, and how many these are.

        Args:
            name: The task's name, for the message.
            labels: str objects [rows], None = no label; training rows only.
            kind: The kind's name with its article, for the message.

        Raises:
            DataError: Fewer than two classes among the training labels, or a declared class without rows.
        """
        known = np.array([label for label in labels if label is not None], dtype=str)
        found, counts = np.unique(known, return_counts=True)
        classes = self.declared or [str(word) for word in found]
        count_of = dict(zip(found.tolist(), counts.tolist(), strict=True))
        empty = [word for word in classes if not count_of.get(word)]
        if len(classes) < 2 or empty:
            lacking = f"no training row of class {empty[0]!r}" if empty else f"classes {classes}"
            raise DataError(
                f"task '{name}': column '{self.target}' has {lacking} among {len(known)} labelled training rows; "
                f"{kind} task needs two or more, each with rows.\n"
                f"  Check tasks.{name}.target and tasks.{name}.classes, or train on an earlier period"
            )
        shares = np.array([count_of[word] for word in classes]) / sum(count_of[word] for word in classes)
        return classes, shares, len(known)

    @staticmethod
    def encode(values: Array, state: TaskState) -> Array:
        """Return float32 targets as the loss reads them: the class's place, NaN for no label or an unknown class."""
        place = {word: float(at) for at, word in enumerate(state["classes"])}
        return np.array(
            [place.get(value, np.nan) if value is not None else np.nan for value in values], dtype=np.float32
        )

    def summary(self, *labels: pl.Series) -> Summary:
        """Return rows and shares of the classes, in the order of the outputs."""
        known = labels[0].drop_nulls()
        found = dict(known.value_counts().iter_rows())
        classes = {word: int(found.get(word, 0)) for word in self.declared or sorted(found)}
        total = sum(classes.values())
        prior = {word: count / total for word, count in classes.items()} if total else None
        return Summary(len(known), classes, prior)

    @staticmethod
    def words(state: TaskState) -> list[str]:
        """Return the classes in the order of the outputs."""
        return list(state["classes"])

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the probability of each class."""
        return [Part("probability", len(state["classes"]), {"classes": state["classes"]})]

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        if output["part"] == "probability":
            return f"calibrated probability of {', '.join(output['classes'])}"
        return super().meaning(output)

    @classmethod
    def promise(cls, state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
        """Return the probability of the likeliest class, and whether it was the one."""
        return prediction.max(axis=1).astype(np.float64), (prediction.argmax(axis=1) == labels).astype(np.float64)

    @classmethod
    def spread(cls, state: TaskState, prediction: Array, labels: Array) -> dict[str, Array]:
        """Return per class the probability that its own rows got for it."""
        return {word: prediction[labels == place, place] for place, word in enumerate(cls.words(state))}

    @staticmethod
    def chosen(prediction: Array) -> Array:
        """Return the place of each row's label, int64 [rows], by its probabilities [rows, classes]."""
        return np.asarray(prediction.argmax(axis=1))

    def group_measures(self, state: TaskState, prediction: Array, labels: Array) -> Iterator[Measure]:
        """Yield the accuracy, and how often each class is the label."""
        known, chosen = ~np.isnan(labels), self.chosen(prediction)
        yield Measure("accuracy", (chosen == labels) & known, known, True)
        for place, name in enumerate(self.words(state)):
            yield Measure(f"selection_rate.{name}", chosen == place, np.ones(len(labels)), True)

    def constant(self, state: TaskState) -> Array:
        """Return the classes' shares of the training rows [1, classes]."""
        return np.array([state["prevalence"]])


def of_truth(probability: Array, truth: Array) -> Array:
    """Return the probability that each row's true class was given, float64 [rows]."""
    return np.asarray(np.clip(probability[np.arange(len(truth)), truth], 1e-12, 1))
