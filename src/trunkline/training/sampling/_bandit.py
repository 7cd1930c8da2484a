"""The torch side of `bandit`: what it remembers of each member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.training.sampling._sampler import Feed
from trunkline.training.sampling._tasks import TaskDraws
from trunkline.training.sampling.bandit import RECENT, Bandit, exp3s, probabilities, scaled
from trunkline.training.sampling.laws import Array, When

KEEP = 0.9  # of a task's running mean loss, from step to step with its labels


class BanditDraws(TaskDraws):
    """Yields batches of tables that are drawn by the progress they brought.

    Args:
        law: Exploration, speed, and steps between two looks.
        feed: The training rows, and for whom they are.
    """

    def __init__(self, law: Bandit, feed: Feed) -> None:
        super().__init__(law, feed)
        self.bandit, self.seen = law, list[Tensor]()
        members, tasks = len(feed.seeds), len(self.names)
        declared = np.array([feed.weights[name] for name in self.names])
        self.priorities = declared / declared.mean()
        self.weights = np.zeros((members, len(self.tables)))
        self.level = np.full((members, tasks), np.nan)
        self.recent = np.full((members, RECENT), np.nan)
        self.taken = 0

    @property
    def stride(self) -> int:
        """Steps that are drawn together."""
        return self.bandit.every

    def shares(self, moments: Sequence[When]) -> Array:
        """Return each table's probability at some steps, float64 [members, steps, tables]."""
        return np.repeat(probabilities(self.weights, self.bandit.explore)[:, None], len(moments), axis=1)

    def observe(self, losses: Tensor) -> None:
        """Take the losses of the step with the last batch [members, tasks]; 0 where a task had no label."""
        self.seen.append(losses.detach())

    def learn(self, drawn: Tensor) -> None:
        """Take note of the steps that were drawn together, and change the draws by the progress they brought."""
        super().learn(drawn)
        losses = torch.stack(self.seen, dim=1).double().cpu().numpy()
        self.seen.clear()
        shares = probabilities(self.weights, self.bandit.explore)
        for step in range(losses.shape[1]):
            self.taken += 1
            for member, table in enumerate(drawn[:, step].tolist()):
                self._reward(member, table, losses[member, step], float(shares[member, table]))

    def _reward(self, member: int, table: int, losses: Array, share: float) -> None:
        raw = self._progress(self.level[member], losses)
        reward = scaled(raw, self.recent[member])
        self.recent[member, self.taken % RECENT] = raw
        self.weights[member] = exp3s(self.weights[member], table, reward, share, self.taken + 1, self.bandit.speed)

    def _progress(self, level: Array, losses: Array) -> float:
        """Return by what share the losses lie below their running means, and move those."""
        known = losses > 0
        level[known] = np.where(np.isnan(level[known]), losses[known], level[known])
        gains = self.priorities[known] * (1 - losses[known] / level[known])
        level[known] = KEEP * level[known] + (1 - KEEP) * losses[known]
        return float(gains.mean()) if known.any() else 0.0

    def facts(self) -> dict[str, Any]:
        """Return the tables with their rows, how many steps each seed drew of each, and its last probabilities."""
        last = probabilities(self.weights, self.bandit.explore)
        return {**super().facts(), "probabilities": last.tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Return all there is to remember, for a checkpoint."""
        numbers = {name: torch.from_numpy(getattr(self, name).copy()) for name in ("weights", "level", "recent")}
        return {**super().state_dict(), **numbers, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().load_state_dict(state)
        for name in ("weights", "level", "recent"):
            setattr(self, name, state[name].numpy().copy())
        self.taken = state["taken"]
