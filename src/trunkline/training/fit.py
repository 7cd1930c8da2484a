"""Fit all seeds of an arm at once: AdamW, warm-up and cosine, clipping, normalised losses over labelled rows.

The seeds are members of one stack (nets/stack.py). Each has its own initial weights, order of rows, dropout, clipping
norm and stop, so that it ends where it would have ended by itself, up to the rounding of batched products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.balance import Balance, Moment
from trunkline.balance._modules import remember_apart
from trunkline.chance import stream_seed, torch_stream
from trunkline.columns.layout import Layout
from trunkline.errors import DataError
from trunkline.nets.declarations import HardSharing, Sharing, Trunk
from trunkline.nets.network import Network
from trunkline.nets.stack import draw_from, member, stack
from trunkline.tasks._modules import Losses
from trunkline.tasks.base import TaskState
from trunkline.training.affinity import AffinityMeter
from trunkline.training.batches import Batch, Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.divided import Divided
from trunkline.training.engine import Learner, backward_for, keep_weights, weights_used
from trunkline.training.fading import Fading, say
from trunkline.training.fairness import FairnessPenalty
from trunkline.training.forward import mean_losses
from trunkline.training.monitoring.guard import refusal
from trunkline.training.monitoring.steps import LastSteps
from trunkline.training.monitoring.watch import Watch
from trunkline.training.penalties import Penalties
from trunkline.training.precision import autocast
from trunkline.training.processes import ALONE, Processes
from trunkline.training.rebalanced import Plan, RowDraws, loss_states
from trunkline.training.sampling import Sampling, Shuffle
from trunkline.training.sampling._sampler import Feed
from trunkline.training.start import first_losses

GUARDED = 20  # steps after which a GPU is asked whether all numbers are finite, where nobody looks more often

Report = Callable[[str], None]


@dataclass(frozen=True)
class Arm:
    """What is trained: the tasks in the order of their heads, and the declared recipe."""

    name: str
    states: dict[str, TaskState]
    weights: dict[str, float]
    features: int | Layout
    vocabulary_sizes: list[int]
    trunk: Trunk
    balance: Balance
    training: Training
    penalties: list[tuple[FairnessPenalty, int]] = field(default_factory=list)
    """Those on tasks of this arm, each with the number of groups of its column."""
    sharing: Sharing = field(default_factory=HardSharing)
    plans: dict[str, Plan] = field(default_factory=dict)
    """Of the tasks whose rows do not all count the same."""
    sampling: Sampling = field(default_factory=Shuffle)
    fadings: dict[str, Fading] = field(default_factory=dict)
    """Of the auxiliary tasks."""


@dataclass
class Fitted:
    """What the training of one seed leaves: weights kept, and what happened on the way."""

    network: Network
    history: list[dict[str, float]] = field(default_factory=list)
    kept_epoch: int = 0
    composite: float = -math.inf
    start_losses: dict[str, float] = field(default_factory=dict)
    sampling: dict[str, Any] | None = None
    """What the rule says of how rows were drawn, for all seeds; None where each was shown once per epoch."""


def choose_device(wanted: str) -> torch.device:
    """Return the declared device.

    Raises:
        EnvironmentFault: A GPU is demanded and there is none.
    """
    from trunkline.errors import EnvironmentFault

    if wanted == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("params.yaml: training.device: cuda, but torch finds no GPU; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def runs_whole(device: torch.device) -> bool:
    """Return True where a stack runs as batched products; a CPU is faster with one member after the other."""
    return device.type == "cuda"


def fit(
    arm: Arm,
    train: Rows,
    selection: Rows,
    seeds: Sequence[int],
    checkpoints: Checkpoints,
    report: Report,
    meter: AffinityMeter | None = None,
    watch: Watch | None = None,
    processes: Processes = ALONE,
) -> list[Fitted]:
    """Train one arm with several seeds together; goes on from the last checkpoint where there is one.

    Args:
        arm: Tasks and recipe.
        train: Training rows.
        selection: Validation rows that may choose the epoch.
        seeds: One per member: decides initial weights, order of rows and dropout; the same for shared and alone.
        checkpoints: Where to keep the state between epochs.
        report: Takes lines of progress.
        meter: Measures on the way how the tasks' gradients agree.
        watch: Looks at each task on the way.
        processes: Those that train this arm together, each a share of every batch's rows.

    Returns:
        Per seed the network with the weights kept.

    Raises:
        DataError: A task's first loss is not that of its constant predictor, or a loss became NaN or infinite.
    """
    return _Trainer(arm, train, selection, seeds, checkpoints, report, meter, watch, processes).run()


class _Trainer:
    def __init__(
        self,
        arm: Arm,
        train: Rows,
        selection: Rows,
        seeds: Sequence[int],
        checkpoints: Checkpoints,
        report: Report,
        meter: AffinityMeter | None,
        watch: Watch | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.arm, self.train, self.selection, self.seeds = arm, train, selection, seeds
        self.checkpoints, self.report, self.recipe, self.meter = checkpoints, report, arm.training, meter
        self.watch, self.processes = watch, processes
        self.device = choose_device(self.recipe.device)
        trained = loss_states(arm.states, arm.plans)
        self.losses = Losses(trained, self.recipe.normalize).to(self.device)
        self.start_losses = Losses(trained, "constant").to(self.device)
        self.skill_losses = Losses(list(arm.states.values()), "constant").to(self.device)
        self.draws = RowDraws(arm.states, arm.plans, seeds)
        self.weights = torch.tensor([arm.weights[name] for name in arm.states])
        self.judged = torch.tensor([name not in arm.fadings for name in arm.states])
        self.whole = stack([self._start(seed) for seed in seeds]).to(self.device)
        self.whole.network.look_at(train.features)
        for parameter in self.whole.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.members = [member(self.whole, place) for place in range(len(seeds))]
        remember_apart(self.whole.balance, [part.balance for part in self.members])
        self.backward = backward_for(arm.balance, self.losses, self.recipe.precision)
        divides = self.recipe.accumulate > 1 or processes.number > 1
        parts = self.recipe.accumulate, processes, self.recipe.precision
        self.divided = Divided(arm.balance, self.losses, *parts) if divides else None
        # Beside the learners: their price enters behind the balance, which must not weigh it as a task.
        self.penalties = Penalties(arm.penalties, arm.states, len(seeds)).to(self.device)
        self.together = runs_whole(self.device)
        self.optimizer = self._optimizer()
        feed = Feed(train, arm.states, arm.weights, self.recipe, seeds)
        self.sampler, self.steps = arm.sampling.build(feed), feed.steps
        # Of the epoch, per member and task: rows with a label, and steps with such rows.
        self.shown, self.taught = (torch.zeros(len(seeds), len(arm.states), device=self.device) for _ in range(2))
        stretch = (watch.monitor.every if watch else 0) or GUARDED
        self.last = LastSteps(stretch, len(seeds), len(arm.states), self.device)
        self.epoch = 0
        self.best: list[dict[str, Tensor] | None] = [None for _ in seeds]
        self.fitted = [Fitted(part.network) for part in self.members]

    def _start(self, seed: int) -> Learner:
        arm, generator = self.arm, torch_stream(seed, "weights")
        states = list(arm.states.values())
        network = Network(arm.features, arm.vocabulary_sizes, states, arm.trunk, generator, arm.sharing)
        return Learner(network, arm.balance.build(list(arm.states), self.weights))

    def _optimizer(self) -> torch.optim.AdamW:
        learners = [self.whole] if self.together else self.members
        peak, decay = self.recipe.learning_rate, self.recipe.weight_decay
        weights = [parameter for learner in learners for parameter in learner.network.parameters()]
        groups: list[dict[str, Any]] = [{"params": weights, "peak": peak, "weight_decay": decay}]
        if learned := [parameter for learner in learners for parameter in learner.balance.parameters()]:
            groups.append({"params": learned, "peak": peak * self.arm.balance.pace, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=peak, fused=True)

    def run(self) -> list[Fitted]:
        saved = self.checkpoints.load()
        if saved is None:
            self._check_start()
        else:
            self._restore(saved)
        while self.epoch < self.recipe.epochs and any(self._active()):
            train_losses = self._train_epoch()
            self._end_epoch(train_losses)
            self._look_back()
            if self.processes.leads:
                self.checkpoints.save(self._state())
        if self.watch is not None:
            kept = [fitted.kept_epoch for fitted in self.fitted]
            self.watch.end(self.epoch * self.steps, [fitted.history for fitted in self.fitted], kept)
        for part, best in zip(self.members, self.best, strict=True):
            if best is not None:
                part.network.load_state_dict(best)
            part.network.eval()
        for fitted in self.fitted:
            fitted.sampling = self.sampler.facts()
        return self.fitted

    def _check_start(self) -> None:
        for seed, fitted in zip(self.seeds, self.fitted, strict=True):
            fitted.start_losses = first_losses(fitted.network, [*self.arm.states], self.train, self.start_losses, seed)

    def _active(self) -> list[bool]:
        """Return per member whether it still trains."""
        stop = self.recipe.early_stop
        return [stop is None or self.epoch - fitted.kept_epoch < stop.patience for fitted in self.fitted]

    def _train_epoch(self) -> Tensor:
        self.whole.train()
        active = self._active()
        # Every stream is named by seed and epoch, so that none needs a place in a checkpoint.
        streams = []
        for place, seed in enumerate(self.seeds):
            stream = torch.Generator(self.device)
            # Rows of other processes have other masks.
            apart = [self.processes.rank] if self.processes.rank else []
            stream.manual_seed(stream_seed(seed, "dropout", self.epoch, *apart))
            streams.append(stream)
            self.members[place].train()
            draw_from(self.members[place], [stream])
        draw_from(self.whole, streams)
        unseen = [torch_stream(seed, "unseen", self.epoch) for seed in self.seeds]
        draw = self.draws.of_epoch(self.epoch)
        total = torch.zeros(len(self.seeds), len(self.arm.states), device=self.device)
        self.shown.zero_()
        self.taught.zero_()
        for step, batch in enumerate(self.sampler.epoch(self.epoch, self.device)):
            batch = batch._replace(codes=self._hide_some(batch.codes, unseen), weights=draw(batch.weights))
            number = self.epoch * self.steps + step
            rate = self.recipe.learning_rate * self._schedule(number)
            if self.meter is not None:
                self.meter.measure(number, self.whole.network, self.losses, self._first_part(batch), rate, active)
            losses = self._step(batch, active, number)
            self.sampler.observe(losses)
            total.add_(losses)
            if self.watch is not None:
                self.watch.look(number, self.last, active)
        return total.div_(self.taught.clamp(min=1))

    def _first_part(self, batch: Batch) -> Batch:
        """Return the rows of the first part that a step is computed in: no measurement takes more memory."""
        parts = self.recipe.accumulate
        return batch if parts == 1 else Batch(*(each[:, : -(-each.shape[1] // parts)] for each in batch))

    def _step(self, batch: Batch, active: list[bool], step: int) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule(step)
        self.optimizer.zero_grad(set_to_none=False)
        self._fade(step)
        noted = self.last.note(step)
        for places, learner, part in self._passes(batch, active):
            divided = self.divided.outputs(learner.network, part) if self.divided else None
            outputs = divided.all if divided else self._outputs(learner.network, part)
            sums, counts = self.losses.sums(outputs.float(), part.targets, part.weights)
            found = sums / counts.clamp(min=1)
            seen = learner.network.combined(outputs.float()) if self.arm.penalties else outputs.float()
            price = self.penalties(seen, part, places)
            keep_weights(learner, found)
            moment = Moment(step, self.seeds if self.together else [self.seeds[places]])
            if self.divided and divided:
                self.divided.backward(learner, divided, found, counts > 0, price, moment)
            else:
                self.backward(learner, part, found, counts > 0, price, moment)
            noted.losses[places], noted.labelled[places] = found.detach(), counts
            noted.weights[places] = weights_used(learner, found)
            self.shown[places] += counts
            self.taught[places] += counts > 0
        if self.divided:
            self.divided.add_up(self.whole.network.parameters())
        noted.norms.copy_(self._clip())
        lost = self.device.type == "cpu" and not torch.isfinite(noted.norms[active]).all()
        if lost or self.last.full(step):
            self._guard(step, active)
        self.optimizer.step()
        return noted.losses

    def _fade(self, step: int) -> None:
        """Tell the balance how much the auxiliary tasks still say."""
        if not self.arm.fadings:
            return
        total = self.steps * self.recipe.epochs
        says = torch.tensor([say(self.arm.fadings.get(name), step, total) for name in self.arm.states])
        for learner in (self.whole, *self.members):
            learner.balance.says.copy_(says)

    def _outputs(self, network: Network, batch: Batch) -> Tensor:
        with autocast(self.recipe.precision, self.device):
            outputs: Tensor = network(batch.features, batch.codes)
        return outputs

    def _passes(self, batch: Batch, active: list[bool]) -> Iterator[tuple[Any, Learner, Batch]]:
        """Yield (places, learner, rows): the whole stack at once on a GPU, member by member on a CPU."""
        if self.together:
            yield slice(None), self.whole, batch
            return
        for place, trains in enumerate(active):
            if trains:
                yield place, self.members[place], batch.of(place)

    def _clip(self) -> Tensor:
        """Shorten each member's gradient to the declared norm; return the norms before, [members]."""
        return torch.stack(
            [nn.utils.clip_grad_norm_(part.network.parameters(), self.recipe.clip) for part in self.members]
        )

    def _hide_some(self, codes: Tensor, streams: list[torch.Generator]) -> Tensor:
        if not self.recipe.unseen_rate or not codes.shape[-1]:
            return codes
        drawn = torch.stack([torch.rand(codes.shape[1:], generator=stream) for stream in streams])
        hidden: Tensor = codes * (drawn >= self.recipe.unseen_rate).to(codes.device)
        return hidden

    def _schedule(self, step: int) -> float:
        """Return the step size as a share of its peak: linear warm-up, then a cosine to zero."""
        first, end = self.arm.sampling.part(step, self.steps * self.recipe.epochs)
        step, total = step - first, end - first
        rising = max(1, round(total * self.recipe.warmup))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    def _guard(self, step: int, active: list[bool]) -> None:
        """Refuse to go on where a number of the last steps is not finite."""
        if fault := self.last.fault(step, active):
            raise DataError(refusal(fault, self.arm.states, self.steps, self.train, self.arm.balance.kind))

    def _end_epoch(self, train_losses: Tensor) -> None:
        active = self._active()
        self._guard((self.epoch + 1) * self.steps - 1, active)
        places = torch.arange(len(self.selection.features))
        networks = [part.network for part in self.members]
        losses = mean_losses(networks, self.selection, places, self.skill_losses)
        for place in [place for place, trains in enumerate(active) if trains]:
            self._note(place, train_losses[place], losses[place])
        self.epoch += 1
        means = losses[active].mean(dim=0).tolist()
        tasks = "  ".join(f"{name} {loss:.3f}" for name, loss in zip(self.arm.states, means, strict=True))
        composite = sum(fitted.history[-1]["composite"] for fitted in self.fitted) / len(self.fitted)
        self.report(f"epoch {self.epoch}/{self.recipe.epochs}  composite {composite:+.4f}  {tasks}")

    def _look_back(self) -> None:
        if self.watch is not None:
            networks = [part.network for part in self.members]
            self.watch.end_epoch(self.epoch * self.steps - 1, networks, [fitted.history for fitted in self.fitted])

    def _note(self, place: int, train_losses: Tensor, losses: Tensor) -> None:
        """Write down a member's epoch, and keep its weights where they are the best so far."""
        fitted = self.fitted[place]
        known = ~losses.isnan() & self.judged
        composite = float(1 - (losses * self.weights)[known].sum() / self.weights[known].sum()) if known.any() else 0.0
        row = {"epoch": self.epoch + 1.0, "composite": composite}
        for name, train, chosen in zip(self.arm.states, train_losses.tolist(), losses.tolist(), strict=True):
            row |= {f"train.{name}": train, f"validation.{name}": chosen}
        if self.sampler.facts() is not None:
            row |= {
                f"labels.{name}": count for name, count in zip(self.arm.states, self.shown[place].tolist(), strict=True)
            }
        fitted.history.append(row)
        if composite > fitted.composite or not self.recipe.keeps_best:
            fitted.composite, fitted.kept_epoch = composite, self.epoch + 1
            state = fitted.network.state_dict()
            self.best[place] = {key: value.clone() for key, value in state.items()} if self.recipe.keeps_best else None

    def _state(self) -> dict[str, Any]:
        return {
            "whole": self.whole.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "penalties": self.penalties.state_dict(),
            "epoch": self.epoch,
            "meter": None if self.meter is None else self.meter.state_dict(),
            "sampler": self.sampler.state_dict(),
            "watch": None if self.watch is None else self.watch.state_dict(),
            "last": self.last.held,
            "fitted": [
                [fitted.history, fitted.kept_epoch, fitted.composite, fitted.start_losses] for fitted in self.fitted
            ],
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.whole.load_state_dict(saved["whole"])  # in place: the members see it
        self.optimizer.load_state_dict(saved["optimizer"])
        self.penalties.load_state_dict(saved["penalties"])
        self.sampler.load_state_dict(saved["sampler"])
        self.best, self.epoch = saved["best"], saved["epoch"]
        if self.meter is not None:
            self.meter.load_state_dict(saved["meter"])
        if self.watch is not None:
            self.watch.load_state_dict(saved["watch"])
        self.last.held.copy_(saved["last"])
        for fitted, (history, kept_epoch, composite, start_losses) in zip(self.fitted, saved["fitted"], strict=True):
            fitted.history, fitted.kept_epoch = history, kept_epoch
            fitted.composite, fitted.start_losses = composite, start_losses
        self.report(f"resumes after epoch {self.epoch}/{self.recipe.epochs}")
