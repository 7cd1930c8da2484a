"""Watches the training of the shared model: looks every few steps, gates and validation losses after each epoch.

A look adds nothing to what a step computes: losses, labelled rows and weights are those of the steps since the last
look, gradients those of the affinity meter's measurement. It draws no random number and changes no weight.

monitor.tsv     per seed, stretch of steps and task: loss (1.0 = constant prediction), skill = 1 - loss, norm (of the
                gradient at the last shared layer), cosine (mean with the other tasks), weight (of the task's loss in
                the step), labelled (rows per batch)
gates.tsv       of a form with gates, per seed, stretch of epochs, level, task and expert: load, and the gate's entropy
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trunkline.nets.network import Network
from trunkline.tasks._modules import loss_scale
from trunkline.tasks.base import TaskState
from trunkline.training.affinity import AffinityMeter
from trunkline.training.batches import Rows
from trunkline.training.declarations import Monitor
from trunkline.training.monitoring import rules
from trunkline.training.monitoring.alarms import Alarms, Seen
from trunkline.training.monitoring.constants import constant_losses
from trunkline.training.monitoring.gate_watch import GateWatch
from trunkline.training.monitoring.record import Record, mean
from trunkline.training.monitoring.steps import LastSteps

WINDOW = 5  # looks whose mean an alarm judges

History = list[dict[str, float]]


@dataclass(frozen=True)
class Watched:
    """What is watched, as its declarations have it."""

    states: dict[str, TaskState]
    weights: dict[str, float]
    balance: str
    normalize: str
    epochs: int
    seeds: int
    trained: list[TaskState]
    """The states as the training's losses read them: normalised by the constant of the rule that rebalances."""

    begins: dict[str, float]
    """Per task the share of the steps before it is learned at all."""

    auxiliary: Collection[str] = ()
    """Tasks whose say falls on purpose, and whose end nobody judges."""

    keeps_best: bool = False
    """Whether the validation rows choose the epoch whose weights are kept."""


class Watch:
    """What is seen of one training of the shared arm.

    Args:
        arm: What is trained.
        monitor: How often to look, and the bounds of the alarms.
        selection: Validation rows that choose the epoch.
        meter: Measures the gradients; None where nobody does.
        report: Takes a line for each alarm.
    """

    def __init__(
        self,
        arm: Watched,
        monitor: Monitor,
        selection: Rows,
        meter: AffinityMeter | None,
        report: Callable[[str], None],
    ) -> None:
        self.arm, self.monitor, self.meter = arm, monitor, meter
        self.tasks, self.bounds = list(arm.states), monitor.alarms
        states = list(arm.states.values())
        # A loss as trained, times this, is a share of the constant's.
        units = [loss_scale(state, "constant") / loss_scale(state, arm.normalize) for state in arm.trained]
        self.units = torch.tensor(units, dtype=torch.float64)
        self.declared = torch.tensor([arm.weights[name] for name in arm.states], dtype=torch.float64)
        self.constants = constant_losses(states, selection.targets)
        self.alarms, self.record, self.gates = Alarms(report), Record(), GateWatch(self.tasks, arm.seeds, selection)
        self.recent: list[Tensor] = []
        self.without = torch.zeros(arm.seeds, len(self.tasks), dtype=torch.int64)

    def look(self, step: int, last: LastSteps, active: Sequence[bool]) -> None:
        """Look at the tasks after the step numbered `step`, where a look is due.

        Args:
            step: From 0, over all epochs.
            last: What the steps up to this did.
            active: Per seed whether it still trains.
        """
        if not self.monitor.every or (step + 1) % self.monitor.every:
            return
        found = last.stretch()
        loss = found.loss * self.units
        norm, cosine = self.meter.latest if self.meter is not None else (torch.full_like(loss, torch.nan),) * 2
        look = torch.stack([loss, 1 - loss, norm, cosine, found.weight, found.labelled])
        look = torch.where(torch.tensor(active)[:, None], look, torch.nan)
        self.record.add(step, look)
        self.recent = [*self.recent, look][-WINDOW:]
        self.without = torch.where(look[-1] == 0, self.without + self.monitor.every, 0)
        self.alarms.take(step + 1, list(self._of_looks()))

    def _of_looks(self) -> Iterator[Seen]:
        bounds = self.bounds
        if bounds.unlabelled is not None:
            yield from rules.unlabelled(self.tasks, self.without, bounds.unlabelled)
        recent = mean(self.recent)
        if len(self.recent) == WINDOW and bounds.norm_ratio is not None:
            drowned = rules.drowned(self.tasks, recent, bounds.norm_ratio, self.arm.balance, self.arm.normalize)
            yield from self._of_main(drowned)
        if len(self.recent) == WINDOW and bounds.weight is not None:
            starved = rules.starved(self.tasks, recent, self.declared, bounds.weight, self.arm.balance)
            yield from self._of_main(starved)

    def _of_main(self, found: Iterator[Seen]) -> Iterator[Seen]:
        """Yield what is no surprise of an auxiliary task for the others only."""
        return (seen for seen in found if seen.task not in self.arm.auxiliary)

    def end_epoch(self, step: int, networks: Sequence[Network], histories: Sequence[History]) -> None:
        """Look at validation losses, conflicts and gates after an epoch.

        Args:
            step: The last of the epoch, from 0.
            networks: Of every seed, in evaluation mode.
            histories: Per seed what was noted of each epoch; a shorter one is that of a seed that has stopped.
        """
        epoch = max(map(len, histories))
        trained = [seed for seed, history in enumerate(histories) if len(history) == epoch]
        curves = {seed: self._validation(histories[seed]) for seed in trained}
        reports = self.gates.look(step, {seed: networks[seed] for seed in trained})
        self.alarms.take(step + 1, list(self._of_epoch(epoch, curves, reports)))

    def _of_epoch(
        self, epoch: int, curves: dict[int, Tensor], reports: dict[int, list[dict[str, Any]]]
    ) -> Iterator[Seen]:
        bounds = self.bounds
        if bounds.skill is not None:
            last = self._of_seeds({seed: curve[-1] for seed, curve in curves.items()})
            skill = 1 - last / self.constants
            skill[:, [not self._is_late(name, epoch) for name in self.tasks]] = torch.nan
            yield from rules.not_learning(self.tasks, skill, bounds.skill, epoch, self.arm.epochs)
        if bounds.cosine is not None and self.meter is not None:
            yield from rules.conflicts(self.tasks, self.meter.series["cosine"], bounds.cosine)
        for seed, curve in curves.items():
            if bounds.rise is not None:
                yield from self._of_main(rules.rising(self.tasks, curve, seed, bounds.rise, self.arm.keeps_best))
            if bounds.gate_load is not None:
                yield from rules.collapsed(reports[seed], seed, bounds.gate_load)

    def _is_late(self, name: str, epoch: int) -> bool:
        """Return whether a task has been learned for so long that it must have skill."""
        begins = self.arm.begins[name]
        return epoch >= (begins + rules.BUDGET * (1 - begins)) * self.arm.epochs

    def end(self, step: int, histories: Sequence[History], kept: Sequence[int]) -> None:
        """Look at the skill of the weights that are kept.

        Args:
            step: How many steps were done.
            histories: Per seed what was noted of each epoch.
            kept: Epoch that each seed kept, from 1.
        """
        if self.bounds.skill is not None:
            last = {
                seed: self._validation(history)[kept[seed] - 1] for seed, history in enumerate(histories) if kept[seed]
            }
            skill = 1 - self._of_seeds(last) / self.constants
            found = rules.without_skill(self.tasks, skill, self.bounds.skill)
            self.alarms.take(step, list(self._of_main(found)))

    def _validation(self, history: History) -> Tensor:
        """Return a seed's losses on the validation rows [epochs, tasks]."""
        rows = [[row[f"validation.{name}"] for name in self.tasks] for row in history]
        return torch.tensor(rows, dtype=torch.float64)

    def _of_seeds(self, losses: dict[int, Tensor]) -> Tensor:
        """Return the losses of all seeds [seeds, tasks]; NaN for those that are not there."""
        whole = torch.full((self.arm.seeds, len(self.tasks)), torch.nan, dtype=torch.float64)
        for seed, of_seed in losses.items():
            whole[seed] = of_seed
        return whole

    def tables(self, steps_per_epoch: int) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of each file that there is something for, by its name."""
        found = {
            "monitor.tsv": list(self.record.rows(self.tasks, steps_per_epoch)),
            "gates.tsv": list(self.gates.rows(steps_per_epoch)),
        }
        return {name: rows for name, rows in found.items() if rows}

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {
            "alarms": self.alarms.state_dict(),
            "record": self.record.state_dict(),
            "gates": self.gates.state_dict(),
            "recent": self.recent,
            "without": self.without,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.alarms.load_state_dict(state["alarms"])
        self.record.load_state_dict(state["record"])
        self.gates.load_state_dict(state["gates"])
        self.recent, self.without = list(state["recent"]), state["without"]
