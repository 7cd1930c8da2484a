"""The torch side that all rules share: what a sampler is, decks of rows, and gathering in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trunkline.tasks.base import TaskState
from trunkline.training.batches import Batch, Rows, steps_per_epoch
from trunkline.training.declarations import Training

CHUNK = 65_536  # rows whose labels are counted at once


@dataclass(frozen=True)
class Feed:
    """What a sampler draws from, and for whom.

    Attributes:
        rows: The training rows.
        states: The arm's tasks, in the order of the targets.
        weights: Their declared weights.
        recipe: Batch, epochs and rows held in memory.
        seeds: One per member.
    """

    rows: Rows
    states: Mapping[str, TaskState]
    weights: Mapping[str, float]
    recipe: Training
    seeds: Sequence[int]

    @property
    def steps(self) -> int:
        """Steps of an epoch; the same under every rule."""
        return steps_per_epoch(len(self.rows.features), self.recipe.batch, self.recipe.shuffle_rows)

    @property
    def batch(self) -> int:
        """Rows of a step; fewer than declared where there are no more."""
        return min(self.recipe.batch, len(self.rows.features))

    @property
    def held(self) -> int:
        """Steps whose rows of all members are held in memory together."""
        return max(1, self.recipe.shuffle_rows // len(self.seeds) // self.batch)


class Sampler:
    """Yields the batches of each epoch; all it must not forget from epoch to epoch is in its `state_dict`.

    Args:
        feed: The training rows, and for whom they are.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def epoch(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batches of an epoch, from 0, on `device`: [members, rows, ...] each."""
        raise NotImplementedError

    def observe(self, losses: Tensor) -> None:
        """Take the losses of the step with the last batch [members, tasks]; 0 where a task had no label."""

    def facts(self) -> dict[str, Any] | None:
        """Return what run.json says of the drawing; None where each row is shown once per epoch."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return all there is to remember, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""


class Deck:
    """Deals the rows of a pool in a shuffled order, and shuffles them anew whenever all were dealt.

    Args:
        pool: Places of the rows.
        generator: Shuffles.
    """

    def __init__(self, pool: Tensor, generator: torch.Generator) -> None:
        self.pool, self.generator, self.rest = pool, generator, pool[:0]

    def deal(self, count: int) -> Tensor:
        """Return the next `count` rows. Each is by itself any row of the pool with the same probability."""
        parts, held = [self.rest], len(self.rest)
        while held < count:
            parts.append(self.pool[torch.randperm(len(self.pool), generator=self.generator)])
            held += len(self.pool)
        dealt = torch.cat(parts)
        self.rest = dealt[count:]
        return dealt[:count]


def pieces(rows: Rows, places: Tensor, held: int, device: torch.device) -> Iterator[tuple[slice, Batch]]:
    """Gather the rows of many steps in bulk; yield (which steps, their rows one after the other).

    Args:
        rows: The training rows.
        places: int64 [members, steps, rows].
        held: Steps gathered at once.
        device: Where the rows are wanted.
    """
    steps = places.shape[1]
    for first in range(0, steps, held):
        chosen = slice(first, min(first + held, steps))
        yield chosen, rows.take(places[:, chosen].flatten(1), device)


def steps_of(piece: Batch, batch: int) -> Iterator[Batch]:
    """Yield the batches of `batch` rows each that a piece consists of."""
    for first in range(0, piece.targets.shape[1], batch):
        yield Batch(*(part[:, first : first + batch] for part in piece))


def chunks(values: Tensor) -> Iterator[Tensor]:
    """Yield `values` [rows, ...] in parts, so that what is computed of them stays small."""
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]


def shared_labels(pools: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Return how many rows of each pool have a label of each task, float64 [pools, tasks].

    Args:
        pools: Places of rows.
        targets: float32 [rows, tasks], NaN = no label.
    """
    counts = torch.zeros(len(pools), targets.shape[1], dtype=torch.float64)
    for place, pool in enumerate(pools):
        for part in chunks(pool):
            counts[place] += (~targets[part].isnan()).sum(dim=0)
    return counts
