"""Shuffle: every row once per epoch, in an order drawn anew.

in      rows with labels for any of the tasks
out     batches of rows as they come; a task's loss is over the rows of a batch that have its label
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.training.sampling.base import BaseSampling

if TYPE_CHECKING:
    from trunkline.training.sampling._sampler import Feed, Sampler


class Shuffle(BaseSampling):
    """Show every row once per epoch. Suits tasks that are labelled in most rows."""

    kind: Literal["shuffle"] = "shuffle"

    def build(self, feed: Feed) -> Sampler:
        """Return what yields the batches of each epoch."""
        from trunkline.training.sampling._shuffle import Shuffled

        return Shuffled(feed)
