"""A task: one target with its loss, its head's outputs, its prediction and its metrics.

A kind is one file with its torch functions in a private sibling; it is named once, in `Task` below.

    label       what the data holds: true/false, a word, a number; null = this row does not teach this task
    target      what the loss reads: float32, NaN = no label
    outputs     what the head gives: float32 [rows, outputs]
    prediction  what the user gets: probability, label or value, in the target's own unit
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from trunkline.tasks.base import Metric, TaskState
from trunkline.tasks.binary import BinaryTask
from trunkline.tasks.count import CountTask
from trunkline.tasks.multiclass import MulticlassTask
from trunkline.tasks.multilabel import MultilabelTask
from trunkline.tasks.ordinal import OrdinalTask
from trunkline.tasks.quantile import QuantileTask
from trunkline.tasks.regression import RegressionTask
from trunkline.tasks.survival import SurvivalTask

Task = Annotated[
    BinaryTask
    | MulticlassTask
    | RegressionTask
    | CountTask
    | OrdinalTask
    | QuantileTask
    | MultilabelTask
    | SurvivalTask,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[Task]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(Task)[0])
}


def kind_of(state: TaskState) -> type[Task]:
    """Return the kind of task that learned a state."""
    return KINDS[state["kind"]]


__all__ = ["KINDS", "BinaryTask", "Metric", "MulticlassTask", "RegressionTask", "Task", "TaskState", "kind_of"]
