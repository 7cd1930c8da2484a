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

    Args:
        method: The declared method.
        tasks: The tasks' names.
        weights: Their declared weights, float32 [tasks].
    """

    def __init__(self, method: LossMethod, tasks: Sequence[str], weights: Tensor) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("weights", weights, persistent=False)
        for name, numbers in method.fixed(tasks).items():
            self.register_buffer(name, torch.tensor(numbers), persistent=False)
        for name in method.learned:
            self.register_parameter(name, nn.Parameter(torch.zeros_like(weights)))
        for name, start in method.remembered.items():
            self.register_buffer(name, torch.full_like(weights, start))

    def forward(self, losses: Tensor, known: Tensor, moment: Moment) -> Tensor:
        """Return one loss [(members)] for `losses` and `known` [(members,) tasks]."""
        numbers = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return self.method.loss(losses, known, numbers, moment)


class FromGradients(nn.Module):
    """The weights of the tasks' gradients that are in use, and how they are found anew.

    Args:
        method: The declared method.
        weights: The tasks' declared weights, float32 [tasks].
    """

    weights: Tensor
    used: Tensor

    def __init__(self, method: GradientMethod, weights: Tensor) -> None:
        super().__init__()
        self.method = method
        self.register_buffer("weights", weights, persistent=False)
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
        for place, seed in enumerate(moment.seeds):
            if (there := np.flatnonzero(present[place])).size:
                of_member = {name: values[place, there] for name, values in kept.items()}
                stream = stream_seed(seed, "balance", moment.step)
                of_tasks = gramians[place][np.ix_(there, there)]
                seen = Seen(of_tasks, priorities[there], of_losses[place, there], of_member, stream)
                used[place, there] = self.method.solve(seen)
                for name, values in of_member.items():
                    kept[name][place, there] = values
        for name, values in {"used": used, **kept}.items():
            buffer = self.get_buffer(name)
            buffer.copy_(torch.from_numpy(values).view_as(buffer))


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
