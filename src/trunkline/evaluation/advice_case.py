"""What an advice is made of: one task with all that may explain its verdict, and the settings that may be changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

LONGER = 1.5  # times the epochs, where a task needs more time
WIDEST = 8192  # units per layer that params.yaml takes
MOST_DROPOUT = 0.9


@dataclass(frozen=True)
class Recipe:
    """The declared settings that an advice may change, under their words in params.yaml.

    Attributes:
        normalize: training.normalize.
        keep: training.keep; "best" also where early_stop is declared.
        epochs: training.epochs.
        patience: training.early_stop.patience, where that ended the training of every seed; else None.
        weight_decay: training.weight_decay.
        width: Units of each layer of the trunk.
        dropout: trunk.dropout.
        balance: balance.kind.
        batch: training.batch.
        sharing: sharing.kind.
        gate_dropout: sharing.gate_dropout; None for a form without gates.
        every: monitor.every.
        weights: tasks.<task>.weight.
    """

    normalize: str
    keep: str
    epochs: int
    weight_decay: float
    width: int
    dropout: float
    balance: str
    batch: int
    sharing: str
    gate_dropout: float | None
    every: int
    weights: Mapping[str, float]
    patience: int | None = None


class Said(NamedTuple):
    """A diagnosis by its short name, what to do, and the figures that led to it."""

    diagnosis: str
    says: str
    because: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One task and all that may explain its verdict; the names are those of the arguments of `advise`."""

    name: str
    evaluation: Mapping[str, Any]
    analysis: Mapping[str, Any]
    history: Mapping[str, str]
    recipe: Recipe

    @property
    def task(self) -> Mapping[str, Any]:
        """The task in reports/evaluation.json."""
        return dict(self.evaluation["tasks"][self.name])

    @property
    def transfer(self) -> Mapping[str, Any]:
        """What sharing did to the task."""
        return dict(self.task["transfer"])

    @property
    def affinity(self) -> Mapping[str, Any] | None:
        """How the tasks' gradients agree; None where it was not measured."""
        return self.analysis.get("affinity")

    @property
    def training(self) -> Mapping[str, Any]:
        """What was seen while the shared model trained; empty where nothing was."""
        return self.analysis.get("training") or {}

    @property
    def wider(self) -> str:
        """The setting of a trunk twice as wide."""
        return setting("trunk.width", min(2 * self.recipe.width, WIDEST))

    @property
    def quieter(self) -> str:
        """The setting of a larger dropout."""
        return setting("trunk.dropout", min(self.recipe.dropout + 0.1, MOST_DROPOUT))

    @property
    def longer(self) -> str:
        """The setting of a longer training."""
        if self.recipe.patience is not None:
            return setting("training.early_stop.patience", 2 * self.recipe.patience)
        return setting("training.epochs", math.ceil(LONGER * self.recipe.epochs))

    @property
    def apart(self) -> str:
        """What to do where no setting helps."""
        grouped = "see with `trunkline groups --confirm` whether it does better apart"
        return f"if {self.name} stays hurt, {grouped if self.affinity else 'train it in a project of its own'}"

    def figures(self, **more: Any) -> dict[str, Any]:
        """Return the figures of the verdict, and more of them."""
        return {name: self.transfer[name] for name in ("gain", "interval", "margin", "seeds")} | more


def setting(key: str, value: object) -> str:
    """Return a setting as an advice names it.

    Example:
        >>> setting("trunk.dropout", 0.30000000000000004), setting("training.keep", "best")
        ('`trunk.dropout: 0.3`', '`training.keep: best`')
    """
    return f"`{key}: {value:.4g}`" if isinstance(value, float) else f"`{key}: {value}`"
