"""What verdicts rest on: the labels of the test rows, and every seed's predictions of both arms on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trunkline.tasks import Task, TaskState

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Evidence:
    """One task on the test rows.

    Seed s of shared and seed s of alone had the same initial draws, order of rows and dropout, so they are pairs.

    Attributes:
        name: The task's name.
        task: Its declaration.
        state: What was learned from its training labels.
        labels: float64 [rows], NaN = no label; numbers in the target's own unit.
        shared: float32 [seeds, rows, 1 or classes]: calibrated probabilities, or values.
        alone: The same for the models trained for this task alone.
        exported: Place of the seed that becomes the exported model.
    """

    name: str
    task: Task
    state: TaskState
    labels: Array
    shared: Array
    alone: Array
    exported: int

    @property
    def known(self) -> Array:
        """True where a row has a label, bool [rows]."""
        known: Array = ~np.isnan(self.labels)
        return known

    @property
    def seeds(self) -> int:
        """Trainings behind each side."""
        return len(self.shared)


@dataclass(frozen=True)
class TestRows:
    """What else is known of the test rows.

    Attributes:
        units: int64 [rows]: rows of one unit (one group of a group split; else each row by itself) stand or fall
            together when rows are drawn again.
        time: datetime64[s] [rows] where the split is by time, else None.
        columns: Values of declared columns as the data holds them, object or number [rows], by column name; None or
            NaN = missing. Those that slices and sensitive columns name.
    """

    __test__ = False  # pytest takes the name for a test

    units: Array
    time: Array | None = None
    columns: dict[str, Array] = field(default_factory=dict)
