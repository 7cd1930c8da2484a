"""What the last steps of a training did, kept where it was computed: looking at it is all that costs a GPU a pause.

A ring of a few steps holds, per seed and task, loss, labelled rows and the weight that the balance gave, and per seed
the norm of the gradient. Whoever looks finds the means of the stretch, and the first number in it that is not finite.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOSS, LABELLED, WEIGHT, GRADIENT = range(4)


class Noted(NamedTuple):
    """Where a step writes down what it did."""

    losses: Tensor
    """Of the tasks, as trained [seeds, tasks]; 0 for a task without a labelled row."""

    labelled: Tensor
    """Labelled rows [seeds, tasks]."""

    weights: Tensor
    """Of the tasks' losses in the step [seeds, tasks]."""

    norms: Tensor
    """Of the whole gradient [seeds]."""


class Fault(NamedTuple):
    """The first number that is not finite."""

    step: int
    seed: int
    part: int
    """LOSS, WEIGHT or GRADIENT."""

    task: int | None
    """None where it is the gradient of all."""


class Stretch(NamedTuple):
    """Means over the steps of the ring in which a task had a label, float64 [seeds, tasks] on the CPU; NaN = none."""

    loss: Tensor
    weight: Tensor
    labelled: Tensor
    """Labelled rows per step."""


class LastSteps:
    """The ring.

    Args:
        length: Steps that it holds.
        seeds: Trainings side by side.
        tasks: Tasks.
        device: Of the training.
    """

    def __init__(self, length: int, seeds: int, tasks: int, device: torch.device) -> None:
        self.length, self.tasks = length, tasks
        self.held = torch.zeros(length, seeds, 3 * tasks + 1, device=device)

    def note(self, step: int) -> Noted:
        """Return the place of a step, with zeros in it."""
        place = self.held[step % self.length].zero_()
        losses, labelled, weights = torch.unflatten(place[:, :-1], 1, (3, self.tasks)).unbind(dim=1)
        return Noted(losses, labelled, weights, place[:, -1])

    def full(self, step: int) -> bool:
        """Return True where `step` is the last of a stretch."""
        return (step + 1) % self.length == 0

    def fault(self, step: int, active: list[bool]) -> Fault | None:
        """Return the first number that is not finite in the steps up to `step`, where there is one.

        Args:
            step: The last that was noted.
            active: Per seed whether it still trains.
        """
        in_order = self.held.roll(-(step + 1) % self.length, dims=0)
        lost = (~torch.isfinite(in_order)).cpu() & torch.tensor(active)[:, None]
        if not lost.any():
            return None
        back, seed, place = (int(number) for number in lost.nonzero()[0])
        task = place % self.tasks if place < 3 * self.tasks else None
        return Fault(step - self.length + 1 + back, seed, place // self.tasks if task is not None else GRADIENT, task)

    def stretch(self) -> Stretch:
        """Return the means of the whole ring."""
        losses, labelled, weights = torch.unflatten(self.held[..., :-1].double().cpu(), 2, (3, self.tasks)).unbind(
            dim=2
        )
        rows, steps = labelled.sum(dim=0), (labelled > 0).sum(dim=0)
        return Stretch(
            (losses * labelled).sum(dim=0) / rows, (weights * (labelled > 0)).sum(dim=0) / steps, labelled.mean(dim=0)
        )
