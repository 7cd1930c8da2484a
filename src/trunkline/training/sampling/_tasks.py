"""The torch side of rules that draw tasks: tables of rows, draws, and labels that are hidden."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.chance import torch_stream
from trunkline.training.batches import Batch
from trunkline.training.sampling._sampler import Deck, Feed, Sampler, chunks, pieces, steps_of
from trunkline.training.sampling.laws import Array, Table, TaskLaw, When

TOGETHER = 0.5  # share of the rows labelled for either task that are labelled for both, from which they are one table


class TaskDraws(Sampler):
    """Yields batches of one table each.

    Args:
        law: What gives each table its share.
        feed: The training rows, and for whom they are.
    """

    def __init__(self, law: TaskLaw, feed: Feed) -> None:
        super().__init__(feed)
        self.law, self.names = law, list(feed.states)
        members = tables_of(labelled_together(feed.rows.targets))
        held = [_labelled(feed.rows.targets, tasks).nonzero()[:, 0] for tasks in members]
        self.pools = held
        self.tables = [
            Table(tuple(self.names[place] for place in tasks), len(pool))
            for tasks, pool in zip(members, held, strict=True)
        ]
        self.drawn = torch.zeros(len(feed.seeds), len(members), dtype=torch.int64)

    def epoch(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        decks = [self._decks(seed, epoch) for seed in self.feed.seeds]
        lots = torch.stack([self._lots(seed, epoch) for seed in self.feed.seeds])
        for first in range(0, self.feed.steps, self.stride):
            steps = range(first, min(first + self.stride, self.feed.steps))
            moments = [self._when(epoch, step) for step in steps]
            drawn = draw(lots[:, first : steps.stop], torch.from_numpy(self.shares(moments)))
            yield from self._batches(decks, drawn, moments, device)
            self.learn(drawn)

    @property
    def stride(self) -> int:
        """Steps that are drawn together."""
        return self.feed.steps

    def shares(self, moments: Sequence[When]) -> Array:
        """Return each table's probability at some steps, float64 [members or 1, steps, tables]."""
        return np.stack([self.law.shares(self.tables, when) for when in moments])[None]

    def learn(self, drawn: Tensor) -> None:
        """Take note of the steps that were drawn together, after the last of them: int64 [members, steps]."""
        self.drawn += torch.nn.functional.one_hot(drawn, len(self.tables)).sum(dim=1)

    def _when(self, epoch: int, step: int) -> When:
        epochs, steps = self.feed.recipe.epochs, self.feed.steps
        return When(epoch, epochs, epoch * steps + step, epochs * steps)

    def _lots(self, seed: int, epoch: int) -> Tensor:
        return torch.rand(self.feed.steps, dtype=torch.float64, generator=torch_stream(seed, "table", epoch))

    def _decks(self, seed: int, epoch: int) -> list[Deck]:
        streams = [torch_stream(seed, "rows of", table.tasks[0], epoch) for table in self.tables]
        return [Deck(pool, stream) for pool, stream in zip(self.pools, streams, strict=True)]

    def _batches(
        self, decks: list[list[Deck]], drawn: Tensor, moments: Sequence[When], device: torch.device
    ) -> Iterator[Batch]:
        places = torch.empty(*drawn.shape, self.feed.batch, dtype=torch.int64)
        for member, own in enumerate(decks):
            for table, deck in enumerate(own):
                chosen = (drawn[member] == table).nonzero()[:, 0]
                places[member, chosen] = deck.deal(len(chosen) * self.feed.batch).view(-1, self.feed.batch)
        counting = self._counting(drawn, moments)
        for steps, piece in pieces(self.feed.rows, places, self.feed.held, device):
            shown = counting[:, steps].repeat_interleave(self.feed.batch, dim=1).to(device)
            yield from steps_of(piece._replace(targets=piece.targets.where(shown, torch.nan)), self.feed.batch)

    def _counting(self, drawn: Tensor, moments: Sequence[When]) -> Tensor:
        """Return whose labels count in each step, bool [members, steps, tasks]."""
        own = torch.tensor([[name in table.tasks for name in self.names] for table in self.tables])
        learned = torch.tensor([_flags(self.names, self.law.learned(when)) for when in moments])
        return own[drawn] & learned

    def facts(self) -> dict[str, Any]:
        """Return the tables with their rows, and how many steps each seed drew of each."""
        tables = [{"tasks": list(table.tasks), "rows": table.rows} for table in self.tables]
        return {**self.law.model_dump(mode="json"), "tables": tables, "steps": self.drawn.tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Return all there is to remember, for a checkpoint."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.drawn = state["drawn"].clone()


def draw(lots: Tensor, shares: Tensor) -> Tensor:
    """Return the table whose interval each lot falls into, int64 [members, steps].

    Args:
        lots: Uniform on [0, 1), float64 [members, steps].
        shares: Of the tables, float64 [members or 1, steps, tables].
    """
    ends = shares.cumsum(dim=-1)
    drawn: Tensor = (lots.unsqueeze(-1) >= ends / ends[..., -1:]).sum(dim=-1)
    return drawn


def labelled_together(targets: Tensor) -> Tensor:
    """Return how many rows have labels of both of two tasks, float64 [tasks, tasks]."""
    counts = torch.zeros(targets.shape[1], targets.shape[1], dtype=torch.float64)
    for part in chunks(targets):
        known = (~part.isnan()).double()
        counts += known.T @ known
    return counts


def tables_of(together: Tensor) -> list[list[int]]:
    """Return the tasks whose labels stand in the same rows, as places, in their order.

    Args:
        together: Rows that have labels of both of two tasks, float64 [tasks, tasks].

    Example:
        >>> tables_of(torch.tensor([[90.0, 0.0, 80.0], [0.0, 50.0, 0.0], [80.0, 0.0, 100.0]]))
        [[0, 2], [1]]
    """
    alone = together.diagonal()
    either = alone[:, None] + alone - together
    found: list[list[int]] = []
    for task in range(len(together)):
        near = [table for table in found if any(together[task, o] >= TOGETHER * either[task, o] for o in table)]
        found = [table for table in found if table not in near] + [sorted([task, *(o for t in near for o in t)])]
    return sorted(found)


def _labelled(targets: Tensor, tasks: list[int]) -> Tensor:
    """Return which rows have a label of any of the tasks, bool [rows]."""
    return torch.cat([(~part[:, tasks].isnan()).any(dim=1) for part in chunks(targets)])


def _flags(names: Sequence[str], chosen: Collection[str] | None) -> list[bool]:
    return [chosen is None or name in chosen for name in names]
