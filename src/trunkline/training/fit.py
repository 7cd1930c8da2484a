"""Fit one arm with one seed: AdamW, warm-up and cosine, clipping, normalised losses over the rows that have labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.balance import Balance
from trunkline.chance import stream_seed, torch_stream
from trunkline.errors import DataError
from trunkline.nets.declarations import Trunk
from trunkline.nets.network import Network
from trunkline.tasks._modules import Losses
from trunkline.tasks.base import TaskState
from trunkline.training.batches import Batch, Rows, epoch_batches, steps_per_epoch
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training

START_ROWS = 20_000  # rows behind the check of the first losses; one batch is too few for a rare task
START_RANGE = (0.8, 1.3)
SCORE_BATCH = 8192

Report = Callable[[str], None]


@dataclass(frozen=True)
class Arm:
    """What is trained: the tasks in the order of their heads, and the declared recipe."""

    name: str
    states: dict[str, TaskState]
    weights: dict[str, float]
    features: int
    vocabulary_sizes: list[int]
    trunk: Trunk
    balance: Balance
    training: Training


@dataclass
class Fitted:
    """What training leaves: weights kept, and what happened on the way."""

    network: Network
    history: list[dict[str, float]] = field(default_factory=list)
    kept_epoch: int = 0
    composite: float = -math.inf
    start_losses: dict[str, float] = field(default_factory=dict)


def choose_device(wanted: str) -> torch.device:
    """Return the declared device.

    Raises:
        EnvironmentFault: A GPU is demanded and there is none.
    """
    from trunkline.errors import EnvironmentFault

    if wanted == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("params.yaml: training.device: cuda, but torch finds no GPU; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def fit(arm: Arm, train: Rows, selection: Rows, seed: int, checkpoints: Checkpoints, report: Report) -> Fitted:
    """Train one arm with one seed; goes on from the last checkpoint where there is one.

    Args:
        arm: Tasks and recipe.
        train: Training rows.
        selection: Validation rows that may choose the epoch.
        seed: Decides initial weights, order of rows and dropout; the same for shared and alone.
        checkpoints: Where to keep the state between epochs.
        report: Takes lines of progress.

    Returns:
        The network with the weights kept.

    Raises:
        DataError: A task's first loss is not that of its constant predictor, or a loss became NaN or infinite.
    """
    return _Trainer(arm, train, selection, seed, checkpoints, report).run()


class _Trainer:
    def __init__(
        self, arm: Arm, train: Rows, selection: Rows, seed: int, checkpoints: Checkpoints, report: Report
    ) -> None:
        self.arm, self.train, self.selection, self.seed = arm, train, selection, seed
        self.checkpoints, self.report, self.recipe = checkpoints, report, arm.training
        self.device = choose_device(self.recipe.device)
        states = list(arm.states.values())
        self.network = Network(arm.features, arm.vocabulary_sizes, states, arm.trunk, torch_stream(seed, "weights")).to(
            self.device
        )
        self.losses = Losses(states, self.recipe.normalize).to(self.device)
        self.skill_losses = Losses(states, "constant").to(self.device)
        self.weights = torch.tensor([arm.weights[name] for name in arm.states], device=self.device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay, fused=True
        )
        self.steps = steps_per_epoch(len(train.features), self.recipe.batch, self.recipe.shuffle_rows)
        self.epoch = 0
        self.best: dict[str, Tensor] | None = None
        self.fitted = Fitted(self.network)

    def run(self) -> Fitted:
        saved = self.checkpoints.load()
        if saved is None:
            self._check_start()
        else:
            self._restore(saved)
        while self.epoch < self.recipe.epochs and not self._stopped():
            train_losses = self._train_epoch()
            self._end_epoch(train_losses)
            self.checkpoints.save(self._state())
        if self.best is not None:
            self.network.load_state_dict(self.best)
        self.network.eval()
        return self.fitted

    def _check_start(self) -> None:
        """Refuse to start where a task's loss is not near its constant predictor's: wrong unit, loss or labels."""
        count = min(len(self.train.features), START_ROWS)
        sample = torch.randperm(len(self.train.features), generator=torch_stream(self.seed, "start"))[:count]
        losses = self._mean_losses(self.train, sample.sort().values, self.skill_losses)
        labelled = (~torch.isnan(self.train.targets[sample])).any(dim=0)
        low, high = START_RANGE
        for name, loss, known in zip(self.arm.states, losses.tolist(), labelled.tolist(), strict=True):
            self.fitted.start_losses[name] = loss
            if known and not low <= loss <= high:
                raise DataError(
                    f"task '{name}': its loss before the first step is {loss:.3g} times that of a constant prediction, "
                    f"expected {low} to {high}.\n  Its labels have a few extreme values or a wrong unit: look at "
                    f"reports/validation.html, set tasks.{name}.clip or loss: huber"
                )

    def _train_epoch(self) -> Tensor:
        self.network.train()
        # Dropout draws from torch's own generator: seeded by epoch, it needs no place in a checkpoint.
        torch.manual_seed(stream_seed(self.seed, "dropout", self.epoch))
        unseen = torch_stream(self.seed, "unseen", self.epoch)
        total = torch.zeros(len(self.arm.states), device=self.device)
        batches = epoch_batches(
            self.train, self.recipe.batch, self.recipe.shuffle_rows, self.seed, self.epoch, self.device
        )
        for step, batch in enumerate(batches):
            losses = self._step(batch, self.epoch * self.steps + step, unseen)
            total.add_(losses)
        return total.div_(self.steps)

    def _step(self, batch: Batch, step: int, unseen: torch.Generator) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self._schedule(step)
        codes = self._hide_some(batch.codes, unseen)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            outputs = self.network(batch.features, codes)
        losses: Tensor = self.losses(outputs.float(), batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.arm.balance.combine(losses, self.weights).backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if self.device.type == "cpu" and not math.isfinite(norm.item()):
            self._refuse(losses, step)
        self.optimizer.step()
        return losses.detach()

    def _hide_some(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        if not self.recipe.unseen_rate or not codes.shape[1]:
            return codes
        shown = torch.rand(codes.shape, generator=generator) >= self.recipe.unseen_rate
        hidden: Tensor = codes * shown.to(codes.device)
        return hidden

    def _schedule(self, step: int) -> float:
        """Return the step size as a share of its peak: linear warm-up, then a cosine to zero."""
        total = self.steps * self.recipe.epochs
        rising = max(1, round(total * self.recipe.warmup))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    def _refuse(self, losses: Tensor, step: int) -> None:
        bad = [name for name, loss in zip(self.arm.states, losses.tolist(), strict=True) if not math.isfinite(loss)]
        named = f"task '{bad[0]}': its loss" if bad else "the gradient"
        raise DataError(
            f"{named} is NaN or infinite at step {step} (epoch {self.epoch + 1}).\n  Lower training.learning_rate, "
            f"or look for extreme labels in reports/validation.html; the last whole epoch is kept and resumes"
        )

    def _end_epoch(self, train_losses: Tensor) -> None:
        count = len(self.selection.features)
        losses = self._mean_losses(self.selection, torch.arange(count), self.skill_losses)
        self._refuse_if_lost(train_losses)
        composite = float(1 - (losses * self.weights).sum() / self.weights.sum())
        row = {"epoch": self.epoch + 1.0, "composite": composite}
        for name, train, chosen in zip(self.arm.states, train_losses.tolist(), losses.tolist(), strict=True):
            row |= {f"train.{name}": train, f"validation.{name}": chosen}
        self.fitted.history.append(row)
        chooses = self.recipe.keep == "best" or self.recipe.early_stop is not None
        if composite > self.fitted.composite or not chooses:
            self.fitted.composite, self.fitted.kept_epoch = composite, self.epoch + 1
            self.best = {key: value.clone() for key, value in self.network.state_dict().items()} if chooses else None
        self.epoch += 1
        tasks = "  ".join(f"{name} {loss:.3f}" for name, loss in zip(self.arm.states, losses.tolist(), strict=True))
        self.report(f"epoch {self.epoch}/{self.recipe.epochs}  composite {composite:+.4f}  {tasks}")

    def _refuse_if_lost(self, losses: Tensor) -> None:
        if not torch.isfinite(losses).all():
            self._refuse(losses, (self.epoch + 1) * self.steps)

    def _stopped(self) -> bool:
        stop = self.recipe.early_stop
        return stop is not None and self.epoch - self.fitted.kept_epoch >= stop.patience

    def _mean_losses(self, rows: Rows, places: Tensor, losses: Losses) -> Tensor:
        self.network.eval()
        sums = torch.zeros(len(self.arm.states), device=self.device)
        counts = torch.zeros_like(sums)
        with torch.inference_mode():
            for first in range(0, len(places), SCORE_BATCH):
                batch = rows.take(places[first : first + SCORE_BATCH], self.device)
                part, known = losses.sums(self.network(batch.features, batch.codes), batch.targets)
                sums += part
                counts += known
        return (sums / counts.clamp(min=1)).cpu()

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "epoch": self.epoch,
            "history": self.fitted.history,
            "kept_epoch": self.fitted.kept_epoch,
            "composite": self.fitted.composite,
            "start_losses": self.fitted.start_losses,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.best, self.epoch = saved["best"], saved["epoch"]
        self.fitted.history, self.fitted.kept_epoch = saved["history"], saved["kept_epoch"]
        self.fitted.composite, self.fitted.start_losses = saved["composite"], saved["start_losses"]
        self.report(f"resumes after epoch {self.epoch}/{self.recipe.epochs}")
