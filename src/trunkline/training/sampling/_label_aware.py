"""The torch side of `label_aware`: slots, decks and weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from trunkline.chance import torch_stream
from trunkline.tasks import kind_of
from trunkline.training.batches import Batch
from trunkline.training.sampling._sampler import Deck, Feed, Sampler, pieces, shared_labels, steps_of
from trunkline.training.sampling.label_aware import Quota, slots


class LabelAwareBatches(Sampler):
    """Yields batches that hold labels of every task.

    Args:
        min_labelled: Fewest rows with a label of each task.
        min_per_class: Fewest rows of each class of each task of classes.
        feed: The training rows, and for whom they are.
    """

    def __init__(self, min_labelled: int, min_per_class: int, feed: Feed) -> None:
        super().__init__(feed)
        found = [(quota, pool) for quota, pool in self._quotas(min_labelled, min_per_class) if quota.rows]
        apart = slots([quota for quota, _ in found], len(feed.rows.features), feed.batch)
        kept = [(quota, pool, count) for (quota, pool), count in zip(found, apart, strict=True) if count]
        self.quotas, self.pools = [quota for quota, _, _ in kept], [pool for _, pool, _ in kept]
        counts = [count for _, _, count in kept]
        self.counts = [feed.batch - sum(counts), *counts]
        everything = torch.arange(len(feed.rows.features))
        self.labels = shared_labels([everything, *self.pools], feed.rows.targets)
        self.slot = interleaved(self.counts)

    def _quotas(self, min_labelled: int, min_per_class: int) -> Iterator[tuple[Quota, Tensor]]:
        for place, (name, state) in enumerate(self.feed.states.items()):
            labels = self.feed.rows.targets[:, place]
            pools: list[tuple[int | None, int, Tensor]] = [(None, min_labelled, ~labels.isnan())]
            classes = range(len(kind_of(state).words(state) or ())) if min_per_class else ()
            pools += [(label, min_per_class, labels == label) for label in classes]
            for label, wanted, held in pools:
                pool = held.nonzero()[:, 0]
                yield Quota(name, label, min(wanted, len(pool)), len(pool)), pool

    def epoch(self, epoch: int, device: torch.device) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        places = torch.stack([self._places(seed, epoch) for seed in self.feed.seeds])
        for _, piece in pieces(self.feed.rows, places, self.feed.held, device):
            yield from steps_of(self._weighted(piece), self.feed.batch)

    def _places(self, seed: int, epoch: int) -> Tensor:
        """Return the rows of all steps of an epoch, int64 [steps, rows]."""
        everything, steps = torch.arange(len(self.feed.rows.features)), self.feed.steps
        decks = [Deck(everything, torch_stream(seed, "shuffle", epoch))]
        for quota, pool in zip(self.quotas, self.pools, strict=True):
            stream = torch_stream(seed, "quota", quota.task, -1 if quota.label is None else quota.label, epoch)
            decks.append(Deck(pool, stream))
        places = torch.empty(steps, self.feed.batch, dtype=torch.int64)
        for place, (deck, count) in enumerate(zip(decks, self.counts, strict=True)):
            places[:, self.slot == place] = deck.deal(steps * count).view(steps, count)
        return places

    def _weighted(self, piece: Batch) -> Batch:
        """Return the rows of some steps with their weights; as they are where no slot is set apart."""
        if not self.quotas:
            return piece
        members, rows, tasks = piece.targets.shape
        targets = piece.targets.view(members, -1, self.feed.batch, tasks)
        names, labels = list(self.feed.states), [quota.label for quota in self.quotas]
        known = ~targets.isnan()
        belongs = [torch.ones_like(known[..., 0])]
        for quota, label in zip(self.quotas, labels, strict=True):
            place = names.index(quota.task)
            belongs.append(known[..., place] if label is None else targets[..., place] == label)
        weights = importance(known, torch.stack(belongs, dim=-1), self.slot.to(known.device), self.labels)
        weights = weights.view(members, rows, tasks)
        return piece._replace(weights=weights * piece.weights if piece.weights.shape[-1] else weights)

    def facts(self) -> dict[str, Any]:
        """Return how many slots of a batch are set apart for what."""
        of_quotas = zip(self.quotas, self.counts[1:], strict=True)
        apart = [{"task": quota.task, "class": quota.label, "rows": count} for quota, count in of_quotas]
        return {"kind": "label_aware", "apart": apart}


def importance(known: Tensor, belongs: Tensor, slot: Tensor, labels: Tensor) -> Tensor:
    """Return each row's weight in each task's loss, see label_aware.py; 1 where it has no label.

    Args:
        known: Which rows have a label of which task, bool [..., rows, tasks].
        belongs: Which rows are part of which pool, bool [..., rows, pools]; the first pool is all rows.
        slot: The pool that each row was drawn from, int64 [rows].
        labels: Labelled rows of each task in each pool, N_gk, float64 [pools, tasks].
    """
    counts = labels.to(known.device, torch.float32)
    drawn_from = (slot == torch.arange(len(labels), device=slot.device)[:, None]).float()
    held = known.float()
    rates = (drawn_from @ held) / counts.clamp(min=1)
    met = belongs.float() @ rates
    shares = held.sum(dim=-2, keepdim=True) / counts[0].clamp(min=1)
    return torch.where(known, shares / met, 1.0)


def interleaved(counts: list[int]) -> Tensor:
    """Return whose each slot of a batch is, int64 [rows], so that every part of the batch holds its share of each.

    Args:
        counts: Slots of each pool.

    Example:
        >>> interleaved([4, 2]).tolist()
        [0, 1, 0, 0, 1, 0]
    """
    owner = torch.cat([torch.full((count,), place) for place, count in enumerate(counts)])
    spread = torch.cat([(torch.arange(count) + 0.5) / count for count in counts if count])
    return owner[spread.argsort(stable=True)]
