"""What the data must be, and what a trial of it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trunkline.data.declarations import Validation
from trunkline.data.validate.findings import Finding
from trunkline.data.validate.leaks import Hint, Leak
from trunkline.data.validate.raw import label_columns
from trunkline.data.validate.record import Record

if TYPE_CHECKING:
    from trunkline.columns import Column
    from trunkline.tasks import Task
    from trunkline.tasks.base import LabelColumn


class Wanted(NamedTuple):
    """What params.yaml says of the data; `moments` are the columns that tell when a row happened."""

    key: Sequence[str]
    columns: Mapping[str, Column]
    tasks: Mapping[str, Task]
    validation: Validation
    moments: Sequence[str] = ()

    @property
    def targets(self) -> dict[str, LabelColumn]:
        """The columns that hold labels."""
        return label_columns(self.tasks)


class Hunt(NamedTuple):
    """What the search for leaks found: inputs to refuse, what each input tells by itself, what is worth a look."""

    leaks: list[Leak]
    hints: list[Hint]
    warnings: list[str]


@dataclass
class Outcome:
    """What a trial found.

    Attributes:
        findings: The rules that do not hold.
        hunt: What the search for leaks found.
        record: Every rule over all drops.
        reasons: For each drop, by their positions, the rows that were set aside and why.
        examined: Rows of each drop.
    """

    findings: list[Finding] = field(default_factory=list)
    hunt: Hunt = field(default_factory=lambda: Hunt([], [], []))
    record: Record = field(default_factory=Record)
    reasons: dict[str, dict[int, str]] = field(default_factory=dict)
    examined: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every rule holds and no input gives a label away."""
        return not self.findings and not self.hunt.leaks

    def kept(self, drop: str) -> np.ndarray[Any, Any]:
        """Return True for each row of a drop that was not set aside."""
        stays = np.ones(self.examined[drop], dtype=bool)
        stays[list(self.reasons[drop])] = False
        return stays

    def kept_of(self, drops: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return True for each row of the table that lies in one of `drops` and was not set aside."""
        parts = [self.kept(name) if name in drops else np.zeros(rows, bool) for name, rows in self.examined.items()]
        return np.concatenate([np.empty(0, bool), *parts])
