"""Several yes or no at once, one task and one verdict.

in      a column of true/false or 0/1 per label, null = this label of this row is not known
out     <task>.probability [rows, labels], the calibrated probability of each
loss    cross-entropy of each label over the rows that have it, divided by the entropy of its training prevalence; the
        mean over the labels, so that each counts the same however rare it is and however often it is known

A row's labels travel as one number: the sum of 3^place times 0 (not known), 1 (no) or 2 (yes); NaN = none is known.
float32 holds it exactly up to 15 labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from trunkline.errors import DataError
from trunkline.tasks.base import Array, BaseTask, LabelColumn, Measure, Metric, Part, Summary, TaskState, float_labels
from trunkline.tasks.metrics import Panel, Ranking, Resampled, Totals

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from trunkline.tasks._head import Head

MOST_LABELS = 15


class MultilabelTask(BaseTask):
    """Several targets with two values each that are judged together: tags, findings, products."""

    kind: Literal["multilabel"]
    labels: list[str] = Field(
        min_length=2,
        max_length=MOST_LABELS,
        description="Columns that hold one label each, true/false or 0/1. A row without one of them is skipped for "
        "this label only.",
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "roc_auc_macro": Metric(
            True, 1.0, "mean over the labels of the chance that a yes gets a higher probability than a no"
        ),
        "average_precision_macro": Metric(True, 1.0, "mean over the labels of the mean precision over all recalls"),
        "log_loss_macro": Metric(
            False, 0.0, "mean over the labels of minus the logarithm of the probability given to what came true"
        ),
    }
    skill_metric: ClassVar[str] = "log_loss_macro"
    output_names: ClassVar[tuple[str, ...]] = ("probability",)
    promised: ClassVar[str] = "several labels the probability of each"
    promises: ClassVar[Literal["share", "number"]] = "share"
    spreads: ClassVar[Literal["share", "number"]] = "share"
    any_column: ClassVar[bool] = True
    charted: ClassVar[tuple[str, str | None, str | None]] = (
        "bars: labels that were true, dashes: false",
        "true",
        "false",
    )

    @field_validator("labels")
    @classmethod
    def _different(cls, labels: list[str]) -> list[str]:
        if repeated := [name for place, name in enumerate(labels) if name in labels[:place]]:
            raise ValueError(f"column '{repeated[0]}' is there twice; name each once")
        return labels

    @property
    def label_columns(self) -> dict[str, LabelColumn]:
        """A column of true/false per label."""
        return {name: LabelColumn(f"labels.{place}", "truth") for place, name in enumerate(self.labels)}

    def read(self, table: pa.Table) -> Array:
        """Return the labels, float64 [rows, labels]: 0, 1 or NaN for none."""
        return np.stack([float_labels(table[name]) for name in self.labels], axis=1)

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn prevalences and normalisers from the training labels.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows, labels], 0, 1 or NaN; training rows only.

        Raises:
            DataError: Only one class, or none, among the training labels of a column.
        """
        known = ~np.isnan(labels)
        rows, yes = known.sum(axis=0), np.nansum(labels, axis=0)
        for place, column in enumerate(self.labels):
            if not 0 < yes[place] < rows[place]:
                raise DataError(
                    f"task '{name}': column '{column}' has {yes[place]:.0f} positives among {rows[place]} labelled "
                    f"training rows; each label of a multilabel task needs both classes.\n"
                    f"  Check tasks.{name}.labels, or train on an earlier period"
                )
        share, labelled = yes / rows, int(known.any(axis=1).sum())
        entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
        return {
            "kind": "multilabel",
            "labelled": labelled,
            "labels": self.labels,
            "prevalences": share.tolist(),
            "bias": np.log(share / (1 - share)).tolist(),
            # So weighted, the constant prediction's mean over the labelled rows is 1, and each label's part the same.
            "weights": (labelled / (len(share) * rows * entropy)).tolist(),
            "constant_loss": 1.0,
            "outputs": len(self.labels),
        }

    @staticmethod
    def encode(values: Array, state: TaskState) -> Array:
        """Return float32 labels [rows], all labels of a row as one number, NaN for none."""
        code = np.nan_to_num(values + 1) @ 3.0 ** np.arange(values.shape[1])
        return np.where(code > 0, code, np.nan).astype(np.float32)

    def summary(self, *labels: pl.Series) -> Summary:
        """Return the rows that have some label, and each label's share of yes."""
        known = np.stack([~column.is_null().to_numpy() for column in labels])
        prior = {name: column.drop_nulls().mean() for name, column in zip(self.labels, labels, strict=True)}
        return Summary(int(known.any(axis=0).sum()), {}, prior if known.any() else None)

    @classmethod
    def label_counts(cls, state: TaskState, labels: Array) -> dict[str, Any]:
        """Return "counts": rows with a yes, by label."""
        yes = np.nansum(unpacked(labels, len(state["labels"])), axis=0).astype(np.int64)
        return {"counts": dict(zip(state["labels"], yes.tolist(), strict=True))}

    @staticmethod
    def head() -> Head:
        """Return the logits' loss and prediction."""
        from trunkline.tasks._multilabel import MultilabelHead

        return MultilabelHead()

    @staticmethod
    def parts(state: TaskState) -> list[Part]:
        """Return the probability of each label."""
        return [Part("probability", len(state["labels"]), {"classes": state["labels"]})]

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        return f"calibrated probability that each of {', '.join(output['classes'])} is true"

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score rows with some label.

        Args:
            truth: As `encode` gives them [rows].
            prediction: Probabilities [rows, labels].
            state: What was learned from the training labels.

        Returns:
            Every metric of the kind; NaN where the rows of some label hold one class only and it does not exist.
        """
        prepared = list(self.resampled(truth, prediction, state).values())
        found = Panel(prepared)(np.ones((1, len(truth)), dtype=np.uint8))[:, 0]
        return dict(zip(self.metrics, found.tolist(), strict=True))

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        answers, probability = unpacked(truth, prediction.shape[1]), prediction.astype(np.float64)
        known = ~np.isnan(answers)
        rows = [np.flatnonzero(of_label) for of_label in known.T]
        rankings = [
            Ranking(answers[of_label, at], probability[of_label, at]) for at, of_label in enumerate(rows)
        ]  # each over the rows that have the label
        clipped = np.clip(probability, 1e-12, 1 - 1e-12)
        given = np.where(answers == 1, clipped, 1 - clipped)
        sums = np.concatenate([np.where(known, -np.log(given), 0.0).T, known.T.astype(np.float64)])

        def macro(metric: Callable[[Ranking, Array], float]) -> Callable[[Array], float]:
            return lambda counts: float(
                np.mean([metric(ranking, counts[own]) for ranking, own in zip(rankings, rows, strict=True)])
            )

        return {
            "roc_auc_macro": macro(Ranking.roc_auc),
            "average_precision_macro": macro(Ranking.average_precision),
            "log_loss_macro": Totals(sums, _mean_of_means),
        }

    def constant(self, state: TaskState) -> Array:
        """Return the training prevalences [1, labels]."""
        return np.array([state["prevalences"]])

    @classmethod
    def promise(cls, state: TaskState, prediction: Array, labels: Array) -> tuple[Array, Array]:
        """Return each label's probability, and whether it came true, [rows x labels]."""
        return prediction.astype(np.float64).ravel(), unpacked(labels, prediction.shape[1]).ravel()

    @classmethod
    def spread(cls, state: TaskState, prediction: Array, labels: Array) -> dict[str, Array]:
        """Return the probabilities, apart for labels that were "false" and "true"."""
        probability, came = cls.promise(state, prediction, labels)
        return {word: probability[came == place] for place, word in enumerate(("false", "true"))}

    def group_measures(self, state: TaskState, prediction: Array, labels: Array) -> Iterator[Measure]:
        """Yield, per label, how far probabilities lie from what came."""
        answers = unpacked(labels, prediction.shape[1])
        for place, name in enumerate(self.labels):
            known = ~np.isnan(answers[:, place])
            gap = np.where(known, prediction[:, place] - answers[:, place], 0.0)
            yield Measure(f"calibration.{name}", gap, known, False)


def unpacked(codes: Array, labels: int) -> Array:
    """Return the labels of rows, float64 [rows, labels]: 0, 1 or NaN for none.

    Args:
        codes: As `encode` gives them [rows].
        labels: How many there are.

    Example:
        >>> unpacked(np.array([1.0 + 2 * 9, np.nan]), 3).tolist()
        [[0.0, nan, 1.0], [nan, nan, nan]]
    """
    whole = np.nan_to_num(codes).astype(np.int64)[:, None]
    digits = whole // 3 ** np.arange(labels) % 3
    return np.where(digits > 0, digits - 1.0, np.nan)


def _mean_of_means(sums: Any, size: Array) -> Array:
    losses, rows = np.split(sums, 2)
    return np.asarray((losses / rows).mean(axis=0))
