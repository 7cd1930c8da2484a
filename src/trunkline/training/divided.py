"""Steps whose batch is divided: into parts one after the other, into shares of several processes, or both.

A method may do with the losses of a batch what it likes: take logarithms, compare them, look at the gap between groups.
So neither losses nor gradients of parts can be weighted by themselves. What is small is the outputs of the heads, a few
numbers per row. A step is therefore taken in two halves that are exact for every method:

1. each part's outputs, without a graph; from all of them losses, method and penalties as for an undivided batch, and
   the gradient of these by the outputs;
2. each part's outputs once more, now with a graph, through which that gradient is pulled back to the weights.

With one part per process the first half keeps its graph and nothing is computed twice. Processes exchange the outputs,
and at the end the sum of the weights' gradients. A gradient method's Gramian is that of the sums of the tasks'
gradients, which is not the sum of the Gramians: so the tasks' gradients are added up first, numbers of tasks x one
layer with `level: last`, and of tasks x all shared layers with `level: all`.

The result is the undivided step's up to rounding, labels missing or not. With dropout it is another draw of the same:
masks are drawn part by part.

source      outputs as the border: Gao et al. 2021, arXiv:2101.06983
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from trunkline.balance import GradientMethod, LossMethod, Moment
from trunkline.balance._modules import FromGradients
from trunkline.nets.network import Network
from trunkline.nets.stack import Dropout, quiet
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Batch
from trunkline.training.engine import Learner, add_weighted, gramian, shared_and_own, shared_layer
from trunkline.training.precision import Precision, autocast
from trunkline.training.processes import Processes


class Outputs:
    """The heads' outputs of a divided batch, and the way back from them to the weights.

    Args:
        network: In training; its dropout draws for all rows of this process, part by part.
        batch: All rows, [(members,) rows, ...] each.
        parts: Of this process's rows, one after the other.
        processes: Who else has a share of the rows.
        precision: The declared one.
    """

    def __init__(self, network: Network, batch: Batch, parts: int, processes: Processes, precision: Precision) -> None:
        self.network, self.batch, self.processes, self.precision = network, batch, processes, precision
        rows = batch.targets.shape[-2]
        mine = torch.arange(rows)[processes.share(rows)].tensor_split(parts)
        self.parts = [slice(int(part[0]), int(part[-1]) + 1) for part in mine if len(part)]
        self.streams = [stream for stream in _streams(network) if stream is not None]
        self.before = [stream.get_state() for stream in self.streams]
        self.graphs: list[Tensor] = []  # of a single part: kept, as it need not be computed again
        front = batch.targets.shape[:-2] if network.copies is None else (*batch.targets.shape[:-2], network.copies)
        self.all = torch.zeros(*front, rows, network.heads.units, device=batch.targets.device)
        for part in self.parts:
            with torch.set_grad_enabled(len(self.parts) == 1):
                outputs = self._forward(part)
            self.all[..., part, :] = outputs.detach()
            if len(self.parts) == 1:
                self.graphs.append(outputs)
        processes.add_up([self.all])
        self.all.requires_grad_()

    def _forward(self, rows: slice) -> Tensor:
        with autocast(self.precision, self.all.device):
            outputs: Tensor = self.network(self.batch.features[..., rows, :], self.batch.codes[..., rows, :])
        return outputs.float()

    def _again(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield each part's rows and its outputs with their graph, by the same draws of dropout."""
        if self.graphs:
            yield self.parts[0], self.graphs[0]
            return
        for stream, state in zip(self.streams, self.before, strict=True):
            stream.set_state(state)
        for part in self.parts:
            yield part, self._forward(part)

    def pull(self, asked: Sequence[tuple[Tensor, Sequence[Tensor]]]) -> None:
        """Add to `.grad` what this process's rows ask of the weights.

        Args:
            asked: Gradients by the outputs, [(members,) rows, outputs], each with the parameters that it is for.
        """
        for rows, outputs in self._again():
            for gradient, parameters in asked:
                part = gradient[..., rows, :]
                torch.autograd.backward(outputs, part, inputs=list(parameters), retain_graph=True)

    def gradients(self, of_tasks: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return each task's gradient at the parameters over all rows, one tensor [(members,) tasks, numbers] each.

        Args:
            of_tasks: Per task the gradient of its loss by the outputs, [(members,) rows, outputs].
            parameters: [(members,) ...] each.
        """
        members, tasks = self.batch.targets.dim() - 2, len(of_tasks)
        found = [
            parameter.new_zeros(
                *parameter.shape[:members], tasks, parameter[0].numel() if members else parameter.numel()
            )
            for parameter in parameters
        ]
        for rows, outputs in self._again():
            for task, gradient in enumerate(of_tasks):
                parts = torch.autograd.grad(
                    outputs, parameters, gradient[..., rows, :], retain_graph=True, materialize_grads=True
                )
                for total, part in zip(found, parts, strict=True):
                    total.select(members, task).add_(part.flatten(members))
        self.processes.add_up(found)
        return found


class Divided:
    """Steps of a balance method over divided batches.

    Args:
        method: The declared method.
        losses: Outputs and targets to losses.
        parts: Of a process's rows, one after the other.
        processes: Who else has a share of the rows.
        precision: The declared one.
    """

    def __init__(
        self,
        method: LossMethod | GradientMethod,
        losses: Losses,
        parts: int,
        processes: Processes,
        precision: Precision,
    ) -> None:
        self.method, self.losses, self.parts = method, losses, parts
        self.processes, self.precision = processes, precision

    def outputs(self, network: Network, batch: Batch) -> Outputs:
        """Return the outputs of all rows of the batch."""
        return Outputs(network, batch, self.parts, self.processes, self.precision)

    def backward(
        self, learner: Learner, outputs: Outputs, losses: Tensor, known: Tensor, price: Tensor, moment: Moment
    ) -> None:
        """Add the step's gradient, of this process's rows, to every `.grad`; see `training/engine.py`.

        Args:
            learner: Network and balance module.
            outputs: Of the batch.
            losses: Of the tasks over all rows [(members,) tasks], with their graph down to the outputs.
            known: Whether a task has a labelled row, bool [(members,) tasks].
            price: Of the fairness penalties [(members)].
            moment: Step and seeds.
        """
        if isinstance(self.method, GradientMethod):
            self._by_gradients(self.method, learner, outputs, losses, known, price, moment)
            return
        # What the method learns gets its gradient here, in every process the same.
        (learner.balance(losses, known, moment) + price).sum().backward()
        assert outputs.all.grad is not None
        outputs.pull([(outputs.all.grad, list(learner.network.parameters()))])

    def _by_gradients(
        self,
        method: GradientMethod,
        learner: Learner,
        outputs: Outputs,
        losses: Tensor,
        known: Tensor,
        price: Tensor,
        moment: Moment,
    ) -> None:
        balance, network = learner.balance, learner.network
        assert isinstance(balance, FromGradients)
        shared, own = shared_and_own(network)
        due = moment.step % method.every == 0
        weighs_anew = due and method.level == "all"
        if due and method.level == "last":
            self._find(method, balance, network, outputs, losses, known, moment)
        if weighs_anew:
            found = outputs.gradients(_by_task(losses, outputs), shared)
            balance.find(gramian(found, losses.dim() - 1), losses, known, moment)
            if self.processes.leads:  # `found` is of all rows, and what the processes have is added up
                add_weighted(shared, found, balance.used)
        weighted = price if weighs_anew else (balance.used * losses).sum() + price.sum()
        weights = balance.weights * balance.says
        plain = (losses * (weights / weights.sum())).sum() + price.sum()
        asked = [(_slope(weighted.sum(), outputs), shared), (_slope(plain, outputs), own)]
        outputs.pull(asked)

    def _find(
        self,
        method: GradientMethod,
        balance: FromGradients,
        network: Network,
        outputs: Outputs,
        losses: Tensor,
        known: Tensor,
        moment: Moment,
    ) -> None:
        """Find new weights at the last shared layer, on all rows or on the first ones with dropout off."""
        layer = shared_layer(network)
        rows = method.rows
        if rows is None or rows >= outputs.all.shape[-2]:
            found = outputs.gradients(_by_task(losses, outputs), layer)
            balance.find(gramian(found, losses.dim() - 1), losses, known, moment)
            return
        part = Batch(*(each[..., :rows, :] for each in outputs.batch))
        with quiet(network):
            seen = self.outputs(network, part)
            sums, counts = self.losses.sums(seen.all, part.targets, part.weights)
            measured = sums / counts.clamp(min=1)
            found = seen.gradients(_by_task(measured, seen), layer)
        balance.find(gramian(found, losses.dim() - 1), measured, counts > 0, moment)

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every `.grad` by the sum over all processes."""
        self.processes.add_up([parameter.grad for parameter in parameters if parameter.grad is not None])


def _by_task(losses: Tensor, outputs: Outputs) -> list[Tensor]:
    """Return per task the gradient of its loss by the outputs."""
    return [_slope(losses[..., task].sum(), outputs) for task in range(losses.shape[-1])]


def _slope(loss: Tensor, outputs: Outputs) -> Tensor:
    """Return the gradient of `loss` by the outputs; 0 where it does not depend on them."""
    if not loss.requires_grad:
        return torch.zeros_like(outputs.all)
    (slope,) = torch.autograd.grad(loss, outputs.all, retain_graph=True, materialize_grads=True)
    return slope


def _streams(network: nn.Module) -> Iterator[torch.Generator | None]:
    """Yield what dropout draws from, each once: every layer draws from the same streams, one per member."""
    for part in network.modules():
        if isinstance(part, Dropout):
            yield from part.streams
            return
