"""Batches out of memory-mapped arrays: rows shuffled once per epoch, then taken in contiguous slices.

Up to `shuffle_rows` rows are gathered in a permuted order and sliced, which feeds 20-90 times faster than
collating single rows. Larger data is read in blocks: chunks of neighbouring rows in a shuffled order, shuffled
again within each block, so that memory stays bounded and no batch is a run of neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trunkline.chance import torch_stream

CHUNK = 4096  # neighbouring rows read together from data larger than memory


class Batch(NamedTuple):
    """Rows of one step, [(members,) rows, ...] each."""

    features: Tensor
    codes: Tensor
    targets: Tensor
    groups: Tensor
    weights: Tensor

    def of(self, member: int) -> Batch:
        """Return one member's rows."""
        return Batch(*(part[member] for part in self))


class Rows(NamedTuple):
    """All rows of one side, in memory or memory-mapped.

    features float32 [rows, width], codes int32 [rows, columns], targets float32 [rows, tasks] with NaN = no label,
    groups int32 [rows, penalties]: the group that each fairness penalty sees in the row, weights float32
    [rows, tasks]: how much the row counts in each task's loss, 1 in the mean; [rows, 0]: every row counts the same.
    """

    features: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    codes: np.ndarray[tuple[int, int], np.dtype[np.int32]]
    targets: Tensor
    groups: Tensor
    weights: Tensor

    def take(self, places: Tensor, device: torch.device) -> Batch:
        """Gather the rows at `places` [(members,) rows] into memory, on `device`."""
        index = places.numpy()
        return Batch(
            torch.from_numpy(self.features[index]).to(device),
            torch.from_numpy(self.codes[index]).to(device),
            self.targets[places].to(device),
            self.groups[places].to(device),
            self.weights[places].to(device),
        )

    def subset(self, places: np.ndarray[Any, Any]) -> Rows:
        """Return the rows at `places`, in memory."""
        index = torch.from_numpy(places)
        held = self.targets[index], self.groups[index], self.weights[index]
        return Rows(self.features[places], self.codes[places], *held)


def epoch_batches(
    rows: Rows, batch: int, shuffle_rows: int, seeds: Sequence[int], epoch: int, device: torch.device
) -> Iterator[Batch]:
    """Yield every row once to each member, in an order that depends on its seed and the epoch alone.

    Args:
        rows: The training rows.
        batch: Rows per step; a last, smaller batch is dropped unless it is the only one of its block.
        shuffle_rows: Rows shuffled together, and held in memory for all members together.
        seeds: One per member.
        epoch: The epoch, from 0.
        device: Where the batches are wanted, [members, rows, ...] each.
    """
    streams = [torch_stream(seed, "shuffle", epoch) for seed in seeds]
    held = max(batch, shuffle_rows // len(seeds) // batch * batch)
    for of_members in zip(*(_blocks(len(rows.features), shuffle_rows, stream) for stream in streams), strict=True):
        places = torch.stack(of_members)
        size = places.shape[1]
        whole = min(size, max(batch, size // batch * batch))
        for start in range(0, whole, held):
            piece = rows.take(places[:, start : min(start + held, whole)], device)
            for first in range(0, piece.targets.shape[1], batch):
                yield Batch(*(part[:, first : first + batch] for part in piece))


def steps_per_epoch(rows: int, batch: int, shuffle_rows: int) -> int:
    """Return how many batches `epoch_batches` yields."""
    blocks = [rows] if rows <= shuffle_rows else _block_sizes(rows, shuffle_rows)
    return sum(max(1, size // batch) for size in blocks)


def _block_sizes(rows: int, shuffle_rows: int) -> list[int]:
    per_block = max(1, shuffle_rows // CHUNK)
    chunks = -(-rows // CHUNK)
    sizes = [CHUNK] * (chunks - 1) + [rows - CHUNK * (chunks - 1)]
    return [sum(sizes[first : first + per_block]) for first in range(0, chunks, per_block)]


def _blocks(rows: int, shuffle_rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    if rows <= shuffle_rows:
        yield torch.randperm(rows, generator=generator)
        return
    chunks, per_block = -(-rows // CHUNK), max(1, shuffle_rows // CHUNK)
    # The last, shorter chunk stays last, so that block sizes do not depend on the draw.
    order = torch.cat([torch.randperm(chunks - 1, generator=generator), torch.tensor([chunks - 1])])
    for first in range(0, chunks, per_block):
        starts = order[first : first + per_block].sort().values * CHUNK
        places = torch.cat([torch.arange(start, min(start + CHUNK, rows)) for start in starts.tolist()])
        yield places[torch.randperm(len(places), generator=generator)]
