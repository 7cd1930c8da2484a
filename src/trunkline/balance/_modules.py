"""The torch side of the balance methods: they hold what a method learns or remembers, one number per task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.balance.base import Array, GradientMethod, LossMethod, Moment, Seen
from trunkline.chance import stream_seed


class FromLosses(nn.Module):
    """One loss out of the losses of all tasks.

    `says` is the share of its weight that each task has in the step at hand, above 0; see training/fading.py.

    Args:
        method: The declared method.
        tasks: The tasks' names.
        weights: Their declared weights, float32 [tasks].
    """

    weights: Tensor
    says: Tensor

    def __init__(self, method: LossMethod, tasks: Sequence[str], weights: Tensor) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("says", torch.ones_like(weights), persistent=False)
        for name, numbers in method.fixed(tasks).items():
            self.register_buffer(name, torch.tensor(numbers), persistent=False)
        for name in method.learned:
            self.register_parameter(name, nn.Parameter(torch.zeros_like(weights)))
        for name, start in method.remembered.items():
            self.register_buffer(name, torch.full_like(weights, start))

    def forward(self, losses: Tensor, known: Tensor, moment: Moment) -> Tensor:
        """Return one loss [(members)] for `losses` and `known` [(members,) tasks]."""
        numbers = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        numbers["weights"] = self.weights * self.says
        return self.method.loss(losses, known, numbers, moment)


class FromGradients(nn.Module):
    """The weights of the tasks' gradients that are in use, and how they are found anew.

    `says` is as in `FromLosses`. A method sees a task or it does not, and mends the gradients of others for a task
    however small its weight; so what counts for half is the mean of what the method finds with the task and without.

    Args:
        method: The declared method.
        weights: The tasks' declared weights, float32 [tasks].
    """

    weights: Tensor
    says: Tensor
    used: Tensor

    def __init__(self, method: GradientMethod, weights: Tensor) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("says", torch.ones_like(weights), persistent=False)
        self.register_buffer("used", weights / weights.sum())
        for name, start in method.remembered.items():
            self.register_buffer(name, torch.full_like(weights, start))

    def find(self, gramian: Tensor, losses: Tensor, known: Tensor, moment: Moment) -> None:
        """Find new weights for the tasks that are known and have a gradient; the others keep theirs.

        Args:
            gramian: Inner products of the tasks' gradients, float64 [(members,) tasks, tasks].
            losses: float32 [(members,) tasks].
            known: Whether the task has a labelled row in the rows that were looked at, bool [(members,) tasks].
            moment: Step and seeds.
        """
        tasks = len(self.weights)
        gramians = gramian.detach().cpu().numpy().reshape(-1, tasks, tasks)
        lengths = gramians.diagonal(axis1=1, axis2=2)
        present = known.cpu().numpy().reshape(-1, tasks) & (lengths > 0) & np.isfinite(lengths)
        of_losses, used = _array(losses), _array(self.used)
        kept = {name: _array(self.get_buffer(name)) for name in self.method.remembered}
        priorities = _array(self.weights)[0] / float(self.weights.mean())
        says = _array(self.says)[0]
        for place, seed in enumerate(moment.seeds):
            if (there := np.flatnonzero(present[place])).size:
                of_member = {name: values[place, there] for name, values in kept.items()}
                stream = stream_seed(seed, "balance", moment.step)
                of_tasks = gramians[place][np.ix_(there, there)]
                seen = Seen(of_tasks, priorities[there], of_losses[place, there], of_member, stream)
                used[place, there] = solve_in_part(self.method, seen, says[there])
                for name, values in of_member.items():
                    kept[name][place, there] = values
        for name, values in {"used": used, **kept}.items():
            buffer = self.get_buffer(name)
            buffer.copy_(torch.from_numpy(values).view_as(buffer))


def solve_in_part(method: GradientMethod, seen: Seen, says: Array) -> Array:
    """Return a method's weights where some tasks count only in part, float64 [tasks].

    Args:
        method: The method.
        seen: What it sees of all tasks; what it remembers is changed in place.
        says: Share in which each task counts, above 0, float64 [tasks].

    Returns:
        The mean of the weights found among the tasks that count by t or more, over t from 0 to 1; 0 for the others.
    """
    found, below = np.zeros_like(says), 0.0
    moved = {name: np.zeros_like(values) for name, values in seen.kept.items()}
    for level in np.unique(says).tolist():
        there = np.flatnonzero(says >= level)
        kept = {name: values[there] for name, values in seen.kept.items()}
        part = Seen(seen.gramian[np.ix_(there, there)], seen.priorities[there], seen.losses[there], kept, seen.stream)
        found[there] += (level - below) * method.solve(part)
        for name, values in kept.items():
            moved[name][there] += (level - below) * values
        below = level
    for name, values in moved.items():
        seen.kept[name][:] = values / says  # a mean, too, over as much as the task counts
    return found


def _array(values: Tensor) -> Array:
    """Return [members, tasks] as float64, one member where `values` has none."""
    return values.detach().cpu().double().numpy().reshape(-1, values.shape[-1]).copy()


def remember_apart(whole: nn.Module, members: Sequence[nn.Module]) -> None:
    """Give each member of a stack memory of its own: what methods remember becomes [members, tasks], members' views."""
    for name in whole.state_dict().keys() - dict(whole.named_parameters()).keys():
        buffer = whole.get_buffer(name)
        setattr(whole, name, buffer.expand(len(members), -1).clone())
        for place, member in enumerate(members):
            setattr(member, name, whole.get_buffer(name)[place])
