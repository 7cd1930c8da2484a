"""The torch side of `shuffle`."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from trunkline.training.batches import Batch, epoch_batches
from trunkline.training.sampling._sampler import Sampler


class Shuffled(Sampler):
    """Yields every row once per epoch, in blocks where the rows are more than memory holds."""

    def epoch(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        recipe = self.feed.recipe
        yield from epoch_batches(self.feed.rows, recipe.batch, recipe.shuffle_rows, self.feed.seeds, epoch, device)
