"""Pre-train on tasks with many labels, then learn all: order instead of a mixture.

in      tasks with many labels, share of the steps that they have for themselves
out     first only their tables, by their rows; then every table, by a root of its rows
source  Choi et al. 2023, "Order Matters in the Presence of Dataset Imbalance for Multilingual Learning",
        arXiv:2312.06134
Differs: the optimiser's moments are kept from the first part to the second; the step size warms up anew, as there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, Self

from pydantic import Field

from trunkline.training.sampling.laws import Array, Table, TaskLaw, When, powers


class PretrainThenJoint(TaskLaw):
    """Learn the tasks with many labels first. Suits a task with few labels beside related ones with many."""

    kind: Literal["pretrain_then_joint"]
    tasks: list[str] = Field(min_length=1, description="Tasks to begin with: those with many labels.")
    share: float = Field(0.5, gt=0, lt=1, description="Share of all steps that only they have.")
    temperature: float = Field(
        2.0, ge=1, le=1000, description="Of the draws after that: 1 = proportional to the rows, 2 = to their root."
    )

    def names(self) -> Collection[str]:
        """Return the tasks that the rule names."""
        return self.tasks

    def restricted(self, tasks: Collection[str]) -> Self:
        """Return the same rule for an arm that learns `tasks` only."""
        return self.model_copy(update={"tasks": [name for name in self.tasks if name in tasks] or list(tasks)})

    def learned(self, when: When) -> Collection[str] | None:
        """Return the tasks whose labels count in a step; None = all."""
        return self.tasks if when.step < self._first(when.steps) else None

    def part(self, step: int, steps: int) -> tuple[int, int]:
        """Return first step and end of the part of the training that a step lies in."""
        joint = self._first(steps)
        return (0, joint) if step < joint else (joint, steps)

    def _first(self, steps: int) -> int:
        """Return how many steps the first part has; one at least is left for the second."""
        return min(math.ceil(self.share * steps), steps - 1)

    def begins(self, task: str) -> float:
        """Return the share of the steps before a task is learned at all."""
        return 0.0 if task in self.tasks else self.share

    def shares(self, tables: Sequence[Table], when: When) -> Array:
        """Return the probability of each table."""
        alone = self.learned(when)
        if alone is None:
            return powers(tables, 1 / self.temperature)
        return powers([table if set(table.tasks) & set(alone) else table._replace(rows=0) for table in tables], 1.0)
