"""How often each row of a task is drawn, and what that does to the class priors.

in      the training labels of one task
out     a plan: plain JSON, one file per task, so that a change of one task touches one file

`prior` is measured on the training labels. Where a plan changes how often a class is seen, `prior_shift` holds what
must be taken off the logits before export; equal draws change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from trunkline.tasks import Task

Plan = dict[str, Any]


def plan(task: Task, *labels: pa.Array | pa.ChunkedArray) -> Plan:
    """Plan equal draws: every labelled row counts the same.

    Args:
        task: The task's declaration.
        labels: Its label columns, training rows only, null = no label.

    Returns:
        rows: labelled training rows. classes: their count per class, in the order of the outputs ("false", "true" for
        a binary task; none for a number). prior: share of "true", shares by class, or mean and standard deviation
        in the target's unit; null without labels. class_weights, prior_shift: per class, 1 and 0.

    Example:
        >>> from trunkline.tasks import BinaryTask
        >>> plan(BinaryTask(kind="binary", target="y"), pa.array([True, False, None, False, False]))["prior"]
        0.25
    """
    rows, classes, prior = task.summary(*(pl.Series(column) for column in labels))
    return {
        "version": 1,
        "draws": "equal",
        "rows": rows,
        "classes": classes,
        "prior": prior,
        "class_weights": dict.fromkeys(classes, 1.0),
        "prior_shift": dict.fromkeys(classes, 0.0),
    }
