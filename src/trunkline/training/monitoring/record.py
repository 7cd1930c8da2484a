"""Looks at a training, at most so many, whatever its length: where they would be more, each two become one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

MOST = 48  # looks that are kept; even
QUANTITIES = ("loss", "skill", "norm", "cosine", "weight", "labelled")


class Record:
    """Keeps looks [quantities, seeds, tasks] with the step of each, as means over stretches of equal length."""

    def __init__(self) -> None:
        self.length = 1
        self.steps: list[int] = []
        self.kept: list[Tensor] = []
        self.pending: list[Tensor] = []

    def add(self, step: int, look: Tensor) -> None:
        """Take a look, float64 [quantities, seeds, tasks], NaN = not known, after the step numbered `step`."""
        if not self.pending and len(self.kept) == MOST:
            self.steps = self.steps[1::2]
            self.kept = [mean(self.kept[place : place + 2]) for place in range(0, MOST, 2)]
            self.length *= 2
        self.pending.append(look)
        if len(self.pending) == self.length:
            self.steps.append(step)
            self.kept.append(mean(self.pending))
            self.pending = []

    def rows(self, tasks: list[str], steps_per_epoch: int) -> Iterator[dict[str, Any]]:
        """Yield a row per seed, stretch and task; a stretch that has not ended is left out.

        Args:
            tasks: Names, in the order of the looks.
            steps_per_epoch: Of the training.
        """
        for seed in range(self.kept[0].shape[1] if self.kept else 0):
            for step, look in zip(self.steps, self.kept, strict=True):
                if look[:, seed].isnan().all():
                    continue  # this seed had stopped
                for place, task in enumerate(tasks):
                    found = dict(zip(QUANTITIES, look[:, seed, place].tolist(), strict=True))
                    epoch = (step + 1) / steps_per_epoch
                    yield {"seed": seed, "step": step + 1, "epoch": epoch, "task": task, **found}

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {"length": self.length, "steps": self.steps, "kept": self.kept, "pending": self.pending}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.length, self.steps = state["length"], list(state["steps"])
        self.kept, self.pending = list(state["kept"]), list(state["pending"])


def mean(looks: list[Tensor]) -> Tensor:
    """Return the mean of looks, each number over those where it is known."""
    return torch.stack(looks).nanmean(dim=0)
