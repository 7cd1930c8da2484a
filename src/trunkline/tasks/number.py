"""What kinds have in common whose label is one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trunkline.errors import DataError
from trunkline.tasks.base import Array, Summary, TargetTask, TaskState

if TYPE_CHECKING:
    import polars as pl


class NumberTask(TargetTask):
    """A target that is a number."""

    charted: ClassVar[tuple[str, str | None, str | None]] = (
        "bars: predictions, dashes: labels",
        "prediction",
        "label",
    )

    def learned(self, name: str, labels: Array, kind: str) -> Array:
        """Return the training labels that are known.

        Args:
            name: The task's name, for the message.
            labels: float64 [rows], NaN = no label; training rows only.
            kind: The kind's name with its article, for the message.

        Raises:
            DataError: Fewer than two different labels.
        """
        known: Array = labels[np.isfinite(labels)]
        if not len(known) or known.min() == known.max():
            held = f"only the value {known[0]:g}" if len(known) else "no value"
            raise DataError(
                f"task '{name}': column '{self.target}' has {held} among {len(known)} labelled training rows; "
                f"{kind} task needs labels that differ.\n"
                f"  Check tasks.{name}.target, or train on another period"
            )
        return known

    @staticmethod
    def encode(values: Array, state: TaskState) -> Array:
        """Return float32 labels in the target's own unit, NaN for no label; the loss puts them on its scale."""
        return np.where(np.isfinite(values), values, np.nan).astype(np.float32)

    def summary(self, *labels: pl.Series) -> Summary:
        """Return rows, mean and standard deviation."""
        values = labels[0].drop_nulls().to_numpy()
        prior = {"mean": float(values.mean()), "sd": float(values.std())} if len(values) else None
        return Summary(len(values), {}, prior)
