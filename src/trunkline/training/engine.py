"""From the tasks' losses to gradients: by one loss, or by weights that follow from the tasks' gradients.

A gradient method compares what the tasks ask of the shared layers. `level: last` looks at the weights and bias of the
last shared layer, embeddings and heads left out: a gradient there is exact and costs one pass through a head. Weights
found once serve `every` steps, and each step is one backward pass through the trunk, of the weighted losses. Heads, and
what else is one task's own, as gates and adapters, get their gradient as under equal weights: what a method says is
about sharing. `level: all` looks at every shared parameter, by one backward pass per task.

source      Gramian and weights: Quinton and Rey 2024, arXiv:2406.16232; last shared layer: Sener and Koltun 2018,
            arXiv:1810.04650, who take the layer's output; on its output, conflicts cannot be mended row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trunkline.balance import GradientMethod, LossMethod, Moment
from trunkline.balance._modules import FromGradients, FromLosses
from trunkline.nets.network import Network
from trunkline.nets.stack import quiet
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Batch
from trunkline.training.precision import Precision, autocast


class Learner(nn.Module):
    """What the optimiser moves: the network, and what the balance method learns about the tasks."""

    def __init__(self, network: Network, balance: FromLosses | FromGradients) -> None:
        super().__init__()
        self.network, self.balance = network, balance


class Backward(Protocol):
    """Adds the gradient of a step to every `.grad`."""

    def __call__(
        self, learner: Learner, batch: Batch, losses: Tensor, known: Tensor, price: Tensor, moment: Moment
    ) -> None:
        """Add it for one member or the whole stack.

        Args:
            learner: Network and balance module.
            batch: The rows, [(members,) rows, ...] each.
            losses: Of the tasks, [(members,) tasks], with their graph.
            known: Whether a task has a labelled row, bool [(members,) tasks].
            price: Of the fairness penalties [(members)], with its graph; not balanced.
            moment: Step and seeds.
        """


def backward_for(method: LossMethod | GradientMethod, losses: Losses, precision: Precision) -> Backward:
    """Return how the steps of a declared method find their gradient."""
    return ByGradients(method, losses, precision) if isinstance(method, GradientMethod) else by_losses


def by_losses(learner: Learner, batch: Batch, losses: Tensor, known: Tensor, price: Tensor, moment: Moment) -> None:
    """Add the gradient of the one loss that the method makes."""
    (learner.balance(losses, known, moment) + price).sum().backward()


class ByGradients:
    """Adds the gradient of losses that are weighted by how the tasks' gradients agree.

    Args:
        method: The declared method.
        losses: Outputs and targets to losses.
        precision: The declared one.
    """

    def __init__(self, method: GradientMethod, losses: Losses, precision: Precision) -> None:
        self.method, self.losses, self.precision = method, losses, precision

    def __call__(
        self, learner: Learner, batch: Batch, losses: Tensor, known: Tensor, price: Tensor, moment: Moment
    ) -> None:
        """Add it for one member or the whole stack."""
        balance = learner.balance
        assert isinstance(balance, FromGradients)
        shared, own = shared_and_own(learner.network)
        due = moment.step % self.method.every == 0
        if due and self.method.level == "last":
            measured, seen = self._measured(learner.network, batch, losses, known)
            found = gradients(measured, shared_layer(learner.network))
            balance.find(gramian(found, losses.dim() - 1), measured, seen, moment)
        if due and self.method.level == "all":
            found = gradients(losses, shared)
            balance.find(gramian(found, losses.dim() - 1), losses, known, moment)
            add_weighted(shared, found, balance.used)
            weighted = price.sum()
        else:
            weighted = (balance.used * losses).sum() + price.sum()
        weights = balance.weights * balance.says
        plain = (losses * (weights / weights.sum())).sum() + price.sum()
        if weighted.requires_grad:
            torch.autograd.backward(weighted, inputs=shared, retain_graph=True)
        torch.autograd.backward(plain, inputs=own)

    def _measured(self, network: Network, batch: Batch, losses: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses with their graph, and which tasks have one, on the rows that are looked at."""
        rows = self.method.rows
        if rows is None or rows >= batch.targets.shape[-2]:
            return losses, known
        part = Batch(*(each[..., :rows, :] for each in batch))
        with quiet(network), autocast(self.precision, losses.device):
            outputs = network(part.features, part.codes)
        sums, counts = self.losses.sums(outputs.float(), part.targets, part.weights)
        return sums / counts.clamp(min=1), counts > 0


def shared_layer(network: Network) -> list[Tensor]:
    """Return weights and bias of the last shared layer, without what a task has of its own there, as an adapter."""
    return [network.last_shared.weight, network.last_shared.bias]


def keep_weights(learner: Learner, losses: Tensor) -> None:
    """Let the next backward pass leave behind what `weights_used` returns, where the method makes one loss."""
    if isinstance(learner.balance, FromLosses):
        losses.retain_grad()


def weights_used(learner: Learner, losses: Tensor) -> Tensor:
    """Return the weights that the tasks' losses had in the backward pass [(members,) tasks].

    Of a method that makes one loss it is that loss's gradient by theirs, which the pass itself computed.
    """
    if isinstance(learner.balance, FromGradients):
        return learner.balance.used
    return torch.zeros_like(losses) if losses.grad is None else losses.grad


def shared_and_own(network: Network) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that tasks share, and those that are one task's each, as heads, gates and adapters."""
    own = network.own_weights
    apart = {id(weight) for weight in own}
    return [weight for weight in network.parameters() if id(weight) not in apart], own


def gradients(losses: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return each task's gradient at the parameters, one tensor [(members,) tasks, numbers] per parameter.

    Args:
        losses: [(members,) tasks], with their graph, which stays.
        parameters: [(members,) ...] each.
    """
    members = losses.dim() - 1
    of_tasks = [
        # Members share no weight, so the gradient of their sum holds the gradient of each.
        torch.autograd.grad(losses[..., task].sum(), parameters, retain_graph=True, materialize_grads=True)
        for task in range(losses.shape[-1])
    ]
    by_parameter = zip(*of_tasks, strict=True)
    return [torch.stack([part.flatten(members) for part in parts], dim=members) for parts in by_parameter]


def gramian(found: Sequence[Tensor], members: int) -> Tensor:
    """Return the inner products of all pairs of tasks, float64 [(members,) tasks, tasks].

    Args:
        found: Per parameter the tasks' gradients, [(members,) tasks, numbers].
        members: 1 where there is a members' dimension in front, else 0.
    """
    products = []
    for part in found:
        exact = part.double()
        products.append(exact @ exact.transpose(members, members + 1))
    return torch.stack(products).sum(dim=0)


def add_weighted(parameters: Sequence[Tensor], found: Sequence[Tensor], weights: Tensor) -> None:
    """Add the weighted sum of the tasks' gradients to the parameters' `.grad`."""
    for parameter, part in zip(parameters, found, strict=True):
        combined = (weights.unsqueeze(-2) @ part).squeeze(-2).view_as(parameter)
        parameter.grad = combined if parameter.grad is None else parameter.grad.add_(combined)
