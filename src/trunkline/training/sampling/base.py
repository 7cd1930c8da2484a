"""What every sampling rule has in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from trunkline.declared import Declared

if TYPE_CHECKING:
    from trunkline.training.sampling._sampler import Feed, Sampler


class BaseSampling(Declared):
    """A rule by which the rows of a step are drawn."""

    leaves_out: ClassVar[bool] = False
    """Whether steps are without labels of a task on purpose."""

    def build(self, feed: Feed) -> Sampler:
        """Return what yields the batches of each epoch.

        Args:
            feed: The training rows, and for whom they are.
        """
        raise NotImplementedError

    def begins(self, task: str) -> float:
        """Return the share of the steps before a task is learned at all."""
        return 0.0

    def names(self) -> Collection[str]:
        """Return the tasks that the rule names."""
        return ()

    def part(self, step: int, steps: int) -> tuple[int, int]:
        """Return first step and end of the part of the training that a step lies in: the step size starts anew there.

        Args:
            step: From 0, over all epochs.
            steps: Of all epochs.
        """
        return 0, steps

    @property
    def least_batch(self) -> int:
        """Rows that a step needs at least where their number is left to the data."""
        return 2

    def problem(self, batch: int) -> str | None:
        """Return which setting no batch of `batch` rows can meet, and what to do; None where all can be met."""
        return None

    def shortfall(self, rows: int, labelled: Mapping[str, int], batch: int) -> str | None:
        """Return why steps cannot be drawn where so many rows have labels, and what to do; None where they can.

        Args:
            rows: All rows.
            labelled: Of each task, rows with a label.
            batch: Rows of a step.
        """
        return None

    def restricted(self, tasks: Collection[str]) -> Self:
        """Return the same rule for an arm that learns `tasks` only."""
        return self
