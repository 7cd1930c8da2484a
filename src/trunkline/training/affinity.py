"""Whether the tasks pull the shared layers the same way, measured while the shared model trains.

agreement   the cosine between two tasks' gradients at the weights and bias of the last shared layer, on the same rows
crossed     the same with one task's gradient from the even rows of the batch and the other's from the odd rows: the
            rows' own noise is then in neither. For a task with itself it is the ceiling: as much as two tasks that
            are the same would agree between two half-batches, which is far less than 1
lookahead   Z[i, j] = 1 - L_j(weights after a step along task i's gradient) / L_j(weights); above 0, the step for i
            also helped j

A measurement passes the batch through the network once more with dropout off. It draws no random number, changes
no weight and leaves every `.grad` as it was, so that a training with and without it ends with the same bytes.

source      agreement: Du et al. 2018, arXiv:1812.02224; lookahead: Fifty et al. 2021, arXiv:2109.04617, equation 1.
Differs:    the lookahead's step has the same length for every task: the learning rate times the norm of the shared
            weights that its gradient touches. A task with a larger loss takes no longer step, so that rows compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.nets.network import Network
from trunkline.nets.stack import quiet
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Batch
from trunkline.training.declarations import Monitor
from trunkline.training.engine import shared_layer

BLOCKS = 16  # at most so many of a series are kept, whatever its length


class Series:
    """Measurements one after the other, kept as sums over at most `BLOCKS` stretches of equal length.

    Neighbouring measurements resemble each other, so their spread understates how uncertain their mean is; the
    spread of the stretches' means does not (batch means). When all are full, each two become one.

    Args:
        shape: Of one measurement; NaN in it = not measured.
    """

    def __init__(self, *shape: int) -> None:
        self.sums = torch.zeros(BLOCKS, *shape, dtype=torch.float64)
        self.counts = torch.zeros_like(self.sums)
        self.length, self.taken = 1, 0

    def add(self, values: Tensor) -> None:
        """Take one measurement."""
        if self.taken == BLOCKS * self.length:
            self._halve()
        place = self.taken // self.length
        self.sums[place] += values.nan_to_num(nan=0.0)
        self.counts[place] += ~values.isnan()
        self.taken += 1

    def _halve(self) -> None:
        for kept in (self.sums, self.counts):
            kept[: BLOCKS // 2] = kept[0::2] + kept[1::2]
            kept[BLOCKS // 2 :] = 0
        self.length *= 2

    def count(self) -> Tensor:
        """Return how many measurements there were of each value."""
        return self.counts.sum(dim=0)

    def mean(self) -> Tensor:
        """Return the mean of all measurements; NaN where there was none."""
        return self.sums.sum(dim=0) / self.count()

    def standard_error(self) -> Tensor:
        """Return the standard error of the mean, from the means of the blocks; NaN with fewer than two."""
        full = self.counts > 0
        number = full.sum(dim=0)
        distance = torch.where(full, self.sums / self.counts - self.mean(), 0.0)
        share = self.counts / self.count()
        return ((share * distance) ** 2).sum(dim=0).mul(number / (number - 1)).sqrt()

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {"sums": self.sums, "counts": self.counts, "length": self.length, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.sums, self.counts = state["sums"].clone(), state["counts"].clone()
        self.length, self.taken = state["length"], state["taken"]


class AffinityMeter:
    """Measures, every few steps of a training, how the tasks' gradients agree in each of its seeds.

    Args:
        tasks: The tasks' names, in the order of the losses.
        seeds: Trainings side by side, the first dimension of every tensor.
        monitor: How often.
    """

    def __init__(self, tasks: list[str], seeds: int, monitor: Monitor) -> None:
        count = len(tasks)
        self.tasks, self.monitor = tasks, monitor
        self.series = {
            "cosine": Series(seeds, count, count),
            "crossed": Series(seeds, count, count),
            "conflict": Series(seeds, count, count),
            "norm": Series(seeds, count),
            "lookahead": Series(seeds, count, count),
        }
        self.latest = (torch.full((seeds, count), math.nan, dtype=torch.float64),) * 2
        """Of the last measurement: length of each task's gradient, and its mean cosine with the others' [seeds, tasks];
        a look in between has no use for it, so no checkpoint holds it."""

    def measure(
        self,
        step: int,
        network: Network,
        losses: Losses,
        batch: Batch,
        learning_rate: float,
        active: Sequence[bool],
    ) -> None:
        """Measure before the step numbered `step`, where one is due.

        Args:
            step: From 0, over all epochs.
            network: The stacked network in training.
            losses: Outputs and targets to losses, float32 [seeds, tasks].
            batch: Rows of the step, [seeds, rows, ...] each.
            learning_rate: Of this step.
            active: Per seed whether it still trains.
        """
        for every, look in ((self.monitor.every, self._agreement), (self.monitor.lookahead, self._lookahead)):
            if every and (step + 1) % every == 0:
                with quiet(network):
                    look(network, losses, batch, learning_rate, torch.tensor(active))

    def _agreement(self, network: Network, losses: Losses, batch: Batch, learning_rate: float, active: Tensor) -> None:
        halves = [Batch(*(part[:, first::2] for part in batch)) for first in (0, 1)]
        gradients = torch.cat([last_layer_gradients(network, losses, half) for half in halves], dim=1)
        labelled = torch.stack([_labelled(half.targets) for half in halves], dim=1)
        found = agreement(_products(gradients), labelled.double().cpu())
        for name, values in zip(("cosine", "crossed", "conflict", "norm"), found, strict=True):
            self.series[name].add(_only(active, values))
        others = found[0].masked_fill(torch.eye(len(self.tasks), dtype=torch.bool), math.nan)
        self.latest = found[-1], others.nanmean(dim=2)

    def _lookahead(self, network: Network, losses: Losses, batch: Batch, learning_rate: float, active: Tensor) -> None:
        found = lookahead(network, losses, batch, learning_rate)
        self.series["lookahead"].add(_only(active, found.double().cpu()))

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {name: series.state_dict() for name, series in self.series.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, series in self.series.items():
            series.load_state_dict(state[name])

    def result(self) -> dict[str, Any]:
        """Return what was found, as affinity.json holds it; NaN = never measured.

        Returns:
            tasks; `every` and `lookahead`, steps between measurements; per seed `count`, `cosine` with its
            `standard_error`, `crossed` with its `crossed_error`, `conflict_rate` (share of measurements with a cosine
            below 0; on the diagonal of a task's two half-batches) and `lookahead`, each [tasks, tasks], the
            lookahead from row to column; and `norm`, the mean length of a gradient, [tasks].
        """
        series = self.series
        parts = {
            "count": series["cosine"].count(),
            "cosine": series["cosine"].mean(),
            "standard_error": series["cosine"].standard_error(),
            "crossed": series["crossed"].mean(),
            "crossed_error": series["crossed"].standard_error(),
            "conflict_rate": series["conflict"].mean(),
            "norm": series["norm"].mean(),
            "lookahead": series["lookahead"].mean(),
        }
        seeds = len(series["norm"].mean())
        return {
            "version": 1,
            "tasks": self.tasks,
            "every": self.monitor.every,
            "lookahead": self.monitor.lookahead,
            "seeds": [{name: values[seed].tolist() for name, values in parts.items()} for seed in range(seeds)],
        }


def last_layer_gradients(network: Network, losses: Losses, batch: Batch) -> Tensor:
    """Return each task's gradient at the last shared layer's weights and bias, float32 [seeds, tasks, parameters].

    The gradient of a task without a label in the batch is zero.
    """
    shared = shared_layer(network)
    of_tasks = losses(network(batch.features, batch.codes), batch.targets, batch.weights)
    found = []
    for task in range(of_tasks.shape[1]):
        # Seeds share no weight, so the gradient of their sum holds the gradient of each.
        parts = torch.autograd.grad(of_tasks[:, task].sum(), shared, retain_graph=True)
        found.append(torch.cat([part.flatten(1) for part in parts], dim=1))
    return torch.stack(found, dim=1)


def _products(gradients: Tensor) -> Tensor:
    """Return the inner products of all pairs of gradients, float64 [seeds, pairs], one seed in float64 at a time."""
    return torch.stack([(rows := of_seed.double()) @ rows.T for of_seed in gradients]).cpu()


def agreement(products: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return how the tasks' gradients agree, from the gradients of two half-batches.

    Args:
        products: Inner products of the half-batches' gradients, float64 [seeds, 2 tasks, 2 tasks], those of the first
            half first.
        labelled: Labelled rows, float64 [seeds, 2, tasks].

    Returns:
        Cosine on the same rows, cosine across the halves, whether the first (on the diagonal the second) is below 0,
        each [seeds, tasks, tasks], and the length of the gradient on all rows [seeds, tasks]. NaN = no label.
    """
    seeds, _, tasks = labelled.shape
    halves = products.reshape(seeds, 2, tasks, 2, tasks)
    share = labelled / labelled.sum(dim=1, keepdim=True)
    # A mean loss is the mean of its halves' means, weighted by their labelled rows; so is its gradient.
    whole = torch.einsum("sai,saibj,sbj->sij", share, halves, share)
    length = whole.diagonal(dim1=1, dim2=2).sqrt()
    cosine = whole / (length[:, :, None] * length[:, None, :])
    lengths = products.diagonal(dim1=1, dim2=2).reshape(seeds, 2, tasks).sqrt()
    crossed = halves[:, 0, :, 1] / (lengths[:, 0, :, None] * lengths[:, 1, None, :])
    crossed = (crossed + crossed.transpose(1, 2)) / 2
    judged = torch.where(torch.eye(tasks, dtype=torch.bool), crossed, cosine)
    return cosine, crossed, torch.where(judged.isnan(), math.nan, (judged < 0).double()), length


def lookahead(network: Network, losses: Losses, batch: Batch, learning_rate: float) -> Tensor:
    """Return what a step for one task does to each task's loss on the same rows, float32 [seeds, from, to].

    Args:
        network: The stacked network, with dropout off.
        losses: Outputs and targets to losses, [seeds, tasks].
        batch: The rows.
        learning_rate: Length of the step, as a share of the norm of the shared weights that the gradient touches.
    """
    own = {id(weight) for weight in network.own_weights}
    shared = {name: weight for name, weight in network.named_parameters() if id(weight) not in own}
    before = losses(network(batch.features, batch.codes), batch.targets, batch.weights)
    known = torch.where(_labelled(batch.targets) > 0, before.detach(), math.nan)
    found = []
    for task in range(before.shape[1]):
        gradient = torch.autograd.grad(before[:, task].sum(), list(shared.values()), retain_graph=True)
        with torch.no_grad():
            stepped = dict(zip(shared, _step(list(shared.values()), gradient, learning_rate), strict=True))
            outputs = torch.func.functional_call(network, stepped, (batch.features, batch.codes))
            after = losses(outputs, batch.targets, batch.weights)
        found.append(torch.where(known[:, task, None].isnan(), math.nan, 1 - after / known))
    return torch.stack(found, dim=1)


def _step(weights: list[nn.Parameter], gradient: tuple[Tensor, ...], share: float) -> list[Tensor]:
    touched = _norm([weight * (slope != 0) for weight, slope in zip(weights, gradient, strict=True)])
    factor = share * touched / _norm(list(gradient)).clamp(min=torch.finfo(torch.float32).tiny)
    return [
        weight - factor.view(-1, *[1] * (weight.dim() - 1)) * slope
        for weight, slope in zip(weights, gradient, strict=True)
    ]


def _norm(parts: list[Tensor]) -> Tensor:
    """Return the norm over all parts of each seed, [seeds]."""
    norms: Tensor = torch.stack([part.flatten(1).norm(dim=1) for part in parts]).norm(dim=0)
    return norms


def _labelled(targets: Tensor) -> Tensor:
    return (~targets.isnan()).sum(dim=1)


def _only(active: Tensor, values: Tensor) -> Tensor:
    """Return the measurement without the seeds that no longer train."""
    return torch.where(active.view(-1, *[1] * (values.dim() - 1)), values, math.nan)
