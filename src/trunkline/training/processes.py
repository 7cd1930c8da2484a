"""Several processes that train one model: each computes its share of every batch, and their sums are everybody's.

Started by torchrun, which says in the environment who is who:

    torchrun --nproc-per-node 2 -m trunkline stage train

All read the same rows in the same order and hold the same weights, of which all get the same gradient. The first
writes and speaks; the others compute. Over a CPU they speak by gloo, over GPUs by NCCL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RANK, COUNT = "RANK", "WORLD_SIZE"  # torchrun's words


class Processes(NamedTuple):
    """Which of how many processes this is."""

    rank: int = 0
    number: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Return which of a batch's rows are this process's."""
        first, last = (rows * place // self.number for place in (self.rank, self.rank + 1))
        return slice(first, last)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over all processes, to the same bits in each."""
        if self.number == 1:
            return
        import torch

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.copy_(part.view_as(tensor))


ALONE = Processes()


def started_together() -> Processes:
    """Return which of how many processes torchrun started this is."""
    return Processes(int(os.environ.get(RANK, 0)), int(os.environ.get(COUNT, 1)))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Give the processes that torchrun started together, connected; one by itself needs no connection."""
    processes = started_together()
    if processes.number == 1:
        yield processes
        return
    import torch.distributed

    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield processes
    finally:
        torch.distributed.destroy_process_group()
