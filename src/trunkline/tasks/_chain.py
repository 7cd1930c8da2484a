"""Steps that are taken one after the other: classes in their order, stretches of time.

A row goes some steps and then stops, or is lost from sight. The head gives, per step, the logit of going on of those
who got there; the probability of getting beyond a step is the product of all up to it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import logsigmoid

from trunkline.tasks._head import Correction, copies_of
from trunkline.tasks._likelihood import FEWEST_ROWS, likeliest_logits
from trunkline.tasks.base import Array


class ChainLoss(nn.Module):
    """Minus the logarithm of the likelihood of the steps that a row was seen to take, and of its stop."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss [(members,) rows].

        Args:
            logits: Of going on, [(members,) rows, steps].
            target: Twice the steps gone, plus 1 where the row then stopped, [(members,) rows].
        """
        code = target.to(torch.int64)
        gone, stopped = (code // 2).unsqueeze(-1), (code % 2).unsqueeze(-1)
        place = torch.arange(logits.shape[-1], device=logits.device)
        on, stop = place < gone, (place == gone) & (stopped == 1)
        return (functional.softplus(-logits) * on + functional.softplus(logits) * stop).sum(dim=-1)


def beyond(logits: Tensor) -> list[Tensor]:
    """Return the probability of getting beyond each step, [rows, 1] each, from the logits of going on [rows, steps].

    They never rise: each is the one before times a probability.
    """
    steps = torch.sigmoid(logits).chunk(logits.shape[1], dim=1)
    found = [steps[0]]
    for step in steps[1:]:
        found.append(found[-1] * step)
    return found


def mean_chain(logits: Tensor) -> Tensor:
    """Return the logits of going on that predict the mean of the copies' chances, [(members,) rows, steps].

    Args:
        logits: Of going on, [(members,) copies, rows, steps].
    """
    copies, found = copies_of(logits), []
    got_here: Tensor | float = 0.0  # logarithm of each copy's probability
    for step in logits.chunk(logits.shape[-1], dim=-1):
        on, stop = got_here + logsigmoid(step), got_here + logsigmoid(-step)
        found.append(on.logsumexp(dim=copies) - stop.logsumexp(dim=copies))
        got_here = on
    return torch.cat(found, dim=-1)


def fit_chain(logits: Array, targets: Array, bias: Array, kind: str) -> Correction:
    """Return one slope for all steps, and where the kind is "affine" an intercept per step.

    Args:
        logits: Of going on, float64 [rows, steps].
        targets: As `ChainLoss` reads them [rows].
        bias: The logits of the constant prediction [steps].
        kind: "slope" or "affine".
    """
    gone, stopped = targets.astype(np.int64) // 2, targets.astype(np.int64) % 2 == 1
    place = np.arange(logits.shape[1])
    stop = (place == gone[:, None]) & stopped[:, None]
    truth = np.where(place < gone[:, None], 1.0, np.where(stop, 0.0, np.nan))
    if stop.sum() < FEWEST_ROWS or (truth == 1).sum() < FEWEST_ROWS:
        return Correction()
    slope, intercepts = likeliest_logits(logits - bias, bias, truth)
    return Correction(slope, intercepts if kind == "affine" else 0.0)
