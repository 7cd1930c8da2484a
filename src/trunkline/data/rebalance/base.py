"""What a rule is: from the labels of one task to what its rows count, and what that shifts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trunkline.declared import Declared

if TYPE_CHECKING:
    from trunkline.tasks import Task

Plan = dict[str, Any]
Array = np.ndarray[Any, np.dtype[np.float64]]


class BaseRule(Declared):
    """What every rule has."""

    suits: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    """Kinds of task that the rule is for; none named: all."""

    @classmethod
    def is_for(cls, kind: str) -> bool:
        """Return whether the rule is for tasks of this kind."""
        return not cls.suits or kind in cls.suits

    def problem(self, task: Task) -> str | None:
        """Return why the rule cannot hold for a task, and what to do; None where it can."""
        return None if self.is_for(task.kind) else f"is for tasks of kind {' or '.join(self.suits)}, not {task.kind}"

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return what the rule adds to a task's plan.

        Args:
            task: The task's declaration.
            classes: Rows per class, each more than 0; none for a number.
            known: The training labels, without those that are missing.
        """
        raise NotImplementedError


class ClassRule(BaseRule):
    """A rule by which a row counts as its class does.

    Rows of class c counted w_c times make a world in which the class is w_c times as common. A head that learns there
    gives the logits of that world, which lie log w_c above those of the rows as they are; this is their prior shift.

    Source:
        Saerens et al. 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", equation 2.4.
    """

    def weights(self, counts: Array) -> Array:
        """Return what a row counts, per class, on any scale.

        Args:
            counts: Rows per class, float64 [classes], each more than 0.
        """
        raise NotImplementedError

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return the weights, with mean 1 over the rows, their shift, and the best constant prediction's loss."""
        counts = np.array(list(classes.values()), dtype=np.float64)
        shares, weights = counts / counts.sum(), self.weights(counts)
        weights = weights / (shares @ weights)
        seen = shares * weights
        return {
            "class_weights": dict(zip(classes, weights.tolist(), strict=True)),
            "prior_shift": dict(zip(classes, np.log(weights).tolist(), strict=True)),
            "constant_loss": float(-(seen @ np.log(seen))),
        }


class DrawRule(ClassRule):
    """A class rule that counts each row a whole number of times, drawn anew in each epoch.

    The plan's `unit` is what a row counts that is there once. A row of weight 0.3 units is there in three of ten
    epochs, one of weight 2.5 units twice or three times; which, a draw by seed, epoch and task decides.
    """

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return what a class rule does, and `unit`."""
        counts = np.array(list(classes.values()), dtype=np.float64)
        return super().plan(task, classes, known) | {"unit": float(counts.sum() / (counts @ self.weights(counts)))}
