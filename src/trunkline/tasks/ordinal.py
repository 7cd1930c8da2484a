"""One class out of several that have an order.

in      a word or whole number per row, one of the declared classes, null = no label
out     <task>.probability [rows, classes], <task>.label [rows, 1] (string): the median class, up to which half of the
        probability lies; with `calibration.coverage`, <task>.set [rows, classes] (bool): which classes it may be
loss    CORN: for every class but the last the cross-entropy of going beyond it, over the rows that reached it. Summed
        over a row's steps that is minus the logarithm of the probability given to its class; divided by the entropy of
        the training class shares
source  Shi, Cao, Raschka 2021, arXiv:2111.08851. The probabilities of going beyond are products of the steps', so that
        they fall from class to class whatever the head gives.
Differs: each step is averaged over all labelled rows and not over those that reached it, which makes the sum the
        likelihood of the class. The paper divides by the number of steps of all rows: another constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from trunkline.tasks.base import Array, LabelRule, Metric, TaskState
from trunkline.tasks.metrics import SAYS, Resampled, Totals, mean
from trunkline.tasks.one_word import OneWordTask, of_truth

if TYPE_CHECKING:
    from trunkline.tasks._head import Head


class OrdinalTask(OneWordTask):
    """A target whose classes have an order: a grade, a severity, a number of stars."""

    kind: Literal["ordinal"]
    classes: list[str | int] = Field(
        min_length=3,
        description="The only classes a row may hold, from the lowest to the highest: words or whole numbers. "
        "Two classes are a binary task.",
    )

    metrics: ClassVar[dict[str, Metric]] = {
        "quadratic_kappa": Metric(
            True, 1.0, "agreement of the label with the class, errors counted by their squared ranks; 0 = chance"
        ),
        "mae": Metric(False, 0.0, "of ordered classes how many ranks the label lies from the class on average"),
        "log_loss": Metric(False, 0.0, SAYS["log_loss"]),
    }
    skill_metric: ClassVar[str] = "log_loss"

    @field_validator("classes")
    @classmethod
    def _different(cls, classes: list[str | int]) -> list[str | int]:
        words = [str(word) for word in classes]
        if repeated := [word for place, word in enumerate(words) if word in words[:place]]:
            raise ValueError(f"class '{repeated[0]}' is there twice; name each once")
        return classes

    @property
    def declared(self) -> list[str]:
        """The classes from the lowest to the highest."""
        return [str(word) for word in self.classes]

    def fit(self, name: str, labels: Array) -> TaskState:
        """Learn the classes' shares and the normaliser from the training labels.

        Args:
            name: The task's name, for the message.
            labels: str objects [rows], None = no label; training rows only.

        Raises:
            DataError: A class without rows among the training labels.
        """
        classes, shares, labelled = self.learned(name, labels, "an ordinal")
        beyond = 1 - shares.cumsum()[:-1]
        return {
            "kind": "ordinal",
            "labelled": labelled,
            "classes": classes,
            "prevalence": shares.tolist(),
            "bias": np.log(beyond / shares[:-1]).tolist(),
            "constant_loss": float(-(shares * np.log(shares)).sum()),
            "outputs": len(classes) - 1,
        }

    @staticmethod
    def head() -> Head:
        """Return the steps' loss and prediction."""
        from trunkline.tasks._ordinal import OrdinalHead

        return OrdinalHead()

    @classmethod
    def label_rule(cls, state: TaskState) -> LabelRule:
        """Return that the label is the median class."""
        return LabelRule(cls.words(state), "median")

    @classmethod
    def meaning(cls, output: Mapping[str, Any]) -> str:
        """Return what an output of the card means, for people."""
        return f"the median class of {output['task']}" if output["part"] == "label" else super().meaning(output)

    @staticmethod
    def chosen(prediction: Array) -> Array:
        """Return the place of the class up to which half of the probability lies, int64 [rows]."""
        return np.asarray((prediction.cumsum(axis=1, dtype=prediction.dtype)[:, :-1] < 0.5).sum(axis=1))

    def scores(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, float]:
        """Score labelled rows.

        Args:
            truth: Places of the true classes [rows].
            prediction: Probabilities [rows, classes].
            state: What was learned from the training labels.

        Returns:
            Every metric of the kind; kappa is NaN where all rows have and get one and the same class.
        """
        truth, chosen = truth.astype(np.int64), self.chosen(prediction)
        sums = _of_ranks(truth, chosen).sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = float(_kappa(sums, np.array([len(truth)]))[0])
        return {
            "quadratic_kappa": kappa,
            "mae": float(np.abs(truth - chosen).mean()),
            "log_loss": float(-np.log(of_truth(prediction.astype(np.float64), truth)).mean()),
        }

    def resampled(self, truth: Array, prediction: Array, state: TaskState) -> dict[str, Resampled]:
        """Prepare every metric for rows that are drawn again; arguments as those of `scores`."""
        truth, chosen = truth.astype(np.int64), self.chosen(prediction)
        return {
            "quadratic_kappa": Totals(_of_ranks(truth, chosen), _kappa),
            "mae": mean(np.abs(truth - chosen)),
            "log_loss": mean(-np.log(of_truth(prediction.astype(np.float64), truth))),
        }


def _of_ranks(truth: Array, chosen: Array) -> Array:
    """Return what kappa sums over rows, float64 [4, rows]."""
    true, said = truth.astype(np.float64), chosen.astype(np.float64)
    return np.stack([(true - said) ** 2, true, said, true**2 + said**2])


def _kappa(sums: Array, size: Array) -> Array:
    """Return 1 minus the squared error over that of labels dealt out to the rows by chance (Cohen 1968)."""
    error, true, said, squares = sums
    by_chance = squares - 2 * true * said / size
    return np.asarray(np.where(by_chance > 1e-9, 1 - error / by_chance, np.nan))
