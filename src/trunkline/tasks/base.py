"""What every task kind has in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from trunkline.declared import Declared, did_you_mean

TaskState = dict[str, Any]
"""What a kind learned from the training labels: plain JSON, with the kind's name under "kind"."""


class Metric(NamedTuple):
    """A score of a task kind: which way is better, what a perfect and a know-nothing prediction get."""

    higher_is_better: bool
    perfect: float


class BaseTask(Declared):
    """Settings that every task has."""

    target: str = Field(description="Column that holds the label. Rows without a label are skipped for this task only.")
    weight: float = Field(
        1.0, gt=0, description="Say of this task in the loss and in the composite; 2.0 counts double."
    )
    primary: str | None = Field(
        None, description="The metric that decides whether sharing helped. Default: the first of the kind's metrics."
    )
    given: dict[str, bool | str] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="{<other task>: <value>}: this task exists only where the other, a binary or multiclass one, has "
        "that value. Its own label is empty elsewhere (or false: of binary tasks).",
    )
    conditional: Literal["masked", "entire_space"] = Field(
        "masked",
        description="With given. masked: the head learns on the rows where the other task has the value; entire_space "
        "(binary tasks): on all rows, through the product of both probabilities.",
    )
    tap_layer: int | None = Field(
        None,
        ge=1,
        description="Layer of the shared trunk that the head reads, from 1; with sharing.kind: hard. Suits a task that "
        "others build upon. Default: the last. The model alone always reads its last.",
    )
    role: Literal["main", "auxiliary"] = Field(
        "main",
        description="auxiliary: trained along for the sake of the shared layers, neither exported nor judged.",
    )
    anneal: Literal["none", "linear", "cosine"] = Field(
        "linear", description="How the say of an auxiliary task falls to 0 at the end of the training."
    )
    anneal_from: float = Field(
        0.8, ge=0, lt=1, description="Share of the steps after which it begins to fall; 0 = from the first step on."
    )
    metrics: ClassVar[dict[str, Metric]]
    skill_metric: ClassVar[str]
    skill_power: ClassVar[int] = 1

    @model_validator(mode="after")
    def _known_primary(self) -> BaseTask:
        if self.primary is not None and self.primary not in self.metrics:
            hint = did_you_mean(self.primary, self.metrics)
            raise ValueError(f"primary '{self.primary}' is unknown; choose one of {', '.join(self.metrics)}{hint}")
        return self

    @property
    def primary_metric(self) -> str:
        """The metric that decides the verdict: as declared, else the first of the kind's metrics."""
        return self.primary or next(iter(self.metrics))

    def skill(self, score: np.ndarray[Any, Any], constant: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return which share of the constant prediction's loss a prediction removes: 0 = none, 1 = perfect.

        The loss is the kind's own: log loss of classes, squared error of numbers.

        Args:
            score: `skill_metric` of the prediction, any shape.
            constant: `skill_metric` of the constant prediction on the same rows, a shape that fits.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(1 - (score / constant) ** self.skill_power)
