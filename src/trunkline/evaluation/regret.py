"""Checkpoint regret: what a task gives up because one epoch is kept for all tasks together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from trunkline.evaluation.curves import read_curve


def checkpoint_regret(history: str, task: str, kept: Sequence[int]) -> dict[str, Any] | None:
    """Return how far a task's validation loss at the epoch kept lies above its lowest, in skill.

    Skill is 1 minus the loss as a share of a constant prediction's, which is what history.tsv holds. The lowest of
    several noisy losses flatters, so that the regret reads "at most".

    Args:
        history: Text of the shared arm's history.tsv.
        task: The task's name.
        kept: Epoch kept, from 1, per seed.

    Returns:
        Mean over the seeds, each seed's own, and the epochs behind it; None where a seed has no loss to compare.
    """
    losses: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for point in read_curve(history, f"validation.{task}"):
        losses[point.seed][point.epoch] = point.value
    if any(epoch not in losses[seed] for seed, epoch in enumerate(kept)):
        return None
    best = [min(losses[seed], key=lambda epoch: losses[seed][epoch]) for seed in range(len(kept))]
    regrets = [losses[seed][epoch] - losses[seed][best[seed]] for seed, epoch in enumerate(kept)]
    mean = math.fsum(regrets) / len(regrets)
    return {"skill": mean, "of_seeds": regrets, "best_epochs": best, "kept_epochs": list(kept)}
