"""Learning-progress bandit: draw more of what is being learned now, and go on trying the rest.

in      losses of the steps so far
out     p_g = (1 - explore) softmax(w)_g + explore / tables
source  Exp3.S: Auer et al. 2002, "The Nonstochastic Multiarmed Bandit Problem", doi:10.1137/S0097539701398375, in the
        form of Graves et al. 2017, "Automated Curriculum Learning for Neural Networks", arXiv:1704.03003, with their
        scaling of rewards by quantiles
Differs: the reward of a step is how far the loss of the drawn table's tasks lies below its own running mean, as a share
        of it, times the tasks' declared weights. Graves et al. compare the loss of one batch before and after the step,
        which is a second forward pass. Probabilities are renewed every `every` steps, so that rows are gathered in
        bulk; quantiles are of the last `RECENT` rewards.

A step's reward r in [-1, 1] enters as r / p_g for the drawn table, 0 for the others, which is right in expectation:

    w_g <- log((1 - a) exp(w_g + speed r_g / p_g) + a / (tables - 1) sum over h != g of exp(w_h + speed r_h / p_h))

with a = 1 / t at the t-th step: what was learned early fades. There is little evidence that bandits beat a fixed law.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trunkline.training.sampling.laws import Array, TaskLaw

if TYPE_CHECKING:
    from trunkline.training.sampling._sampler import Feed, Sampler

RECENT = 256  # rewards whose quantiles are the scale
QUANTILES = (0.2, 0.8)


class Bandit(TaskLaw):
    """Draw what makes progress. Suits many tables of unknown difficulty and long trainings."""

    kind: Literal["bandit"]
    explore: float = Field(0.1, ge=0.01, le=1, description="Share of the steps that is drawn from all tables alike.")
    speed: float = Field(0.05, gt=0, le=10, description="How fast rewards change the draws.")
    every: int = Field(10, ge=1, le=10_000, description="Steps for which probabilities found once are used.")

    def build(self, feed: Feed) -> Sampler:
        """Return what yields the batches of each epoch."""
        from trunkline.training.sampling._bandit import BanditDraws

        return BanditDraws(self, feed)


def probabilities(weights: Array, explore: float) -> Array:
    """Return the shares of the tables, float64 [..., tables].

    Args:
        weights: Logarithmic weights, float64 [..., tables].
        explore: Share drawn from all alike.
    """
    grown = np.exp(weights - weights.max(axis=-1, keepdims=True))
    shares: Array = (1 - explore) * grown / grown.sum(axis=-1, keepdims=True) + explore / weights.shape[-1]
    return shares


def exp3s(weights: Array, drawn: int, reward: float, share: float, step: int, speed: float) -> Array:
    """Return the logarithmic weights after a step, float64 [tables], the largest 0.

    Args:
        weights: Before it.
        drawn: The table of the step.
        reward: In [-1, 1].
        share: The probability with which it was drawn.
        step: Its number, from 1; the first has no reward behind it, so rewards begin with 2.
        speed: How fast rewards change the weights.
    """
    moved = weights.copy()
    moved[drawn] += speed * reward / share
    grown, fading = np.exp(moved - moved.max()), 1 / step
    others = (grown.sum() - grown) / max(1, len(weights) - 1)
    found = np.log((1 - fading) * grown + fading * others)
    weighed: Array = found - found.max()
    return weighed


def scaled(reward: float, recent: Array) -> float:
    """Return a reward on the scale of recent ones: their 20 % quantile is -1, their 80 % quantile 1, beyond is cut.

    Args:
        reward: As measured.
        recent: Rewards before it; NaN = none yet.

    Example:
        >>> scaled(3.0, np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
        0.3333333333333333
    """
    known = recent[~np.isnan(recent)]
    low, high = np.quantile(known, QUANTILES) if len(known) else (0.0, 0.0)
    return float(np.clip(2 * (reward - low) / (high - low) - 1, -1, 1)) if high > low else 0.0
