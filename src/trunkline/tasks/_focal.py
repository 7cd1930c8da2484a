"""What focal loss does to confidences, undone: from the outputs that it trains to the logits of the rows as they are.

in      outputs of a head that learned under (1 - p) ^ gamma times cross-entropy, rows of class c counting w_c
out     the logits whose probabilities are those of the classes, where the loss is least
source  Charoenphakdee et al. 2021, "On Focal Loss for Class-Posterior Probability Estimation", arXiv:2011.09172,
        their transform Psi: of the probabilities v that minimise focal loss, the classes' own are in the proportion of
        v / phi(v), phi(v) = (1 - v)^gamma - gamma (1 - v)^(gamma - 1) v log v
Differs: in logits; rows count w_c, so the proportion is v / (w phi(v)). Odds beyond e^30 stay there.

Under the shares eta the expected loss is least where w_c eta_c times its slope phi(v_c) / v_c is the same for every
class. The order of the classes stays, and of two rows that differ in one logit of a binary head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from trunkline.tasks.base import TaskState

SUREST = 30.0  # largest logit whose exponential and its inverse float32 holds with all digits


class FocalInverse(nn.Module):
    """Outputs of the heads with those of focal loss put right; the others as they are.

    Args:
        states: Of the heads, in their order. `focal` holds gamma, and per output the shift that the loss adds and the
            logarithm of what a row counts; of a binary task both are those of yes over no.
    """

    def __init__(self, states: Sequence[TaskState]) -> None:
        super().__init__()
        ends = list(accumulate(state["outputs"] for state in states))
        held = zip(ends, states, strict=True)
        self.focal = [(end - state["outputs"], end, state["focal"]) for end, state in held if "focal" in state]

    def forward(self, outputs: Tensor) -> Tensor:
        """Return float32 [..., outputs] for outputs of that shape."""
        for first, end, held in self.focal:
            seen = outputs[..., first:end] + outputs.new_tensor(held["shift"])
            logits = _undone(seen, held["gamma"]) - outputs.new_tensor(held["weights"])
            outputs = torch.cat([outputs[..., :first], logits, outputs[..., end:]], dim=-1)
        return outputs


def _undone(seen: Tensor, gamma: float) -> Tensor:
    """Return the logits [..., outputs] of the shares under which focal loss is least at the logits `seen`."""
    if seen.shape[-1] == 1:
        return log_slope(-seen, gamma) - log_slope(seen, gamma)
    probabilities = seen.softmax(dim=-1)
    apart = 1 - torch.eye(seen.shape[-1], dtype=seen.dtype, device=seen.device)
    others = probabilities @ apart  # 1 - p would lose its digits where p is nearly 1
    least = math.exp(-2 * SUREST)
    return -log_slope(probabilities.clamp(min=least).log() - others.clamp(min=least).log(), gamma)


def log_slope(logit: Tensor, gamma: float) -> Tensor:
    """Return the logarithm of minus the slope of (1 - p)^gamma (-log p) at the p of a logit.

    Example:
        >>> logit = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
        >>> p = torch.sigmoid(logit)
        >>> (slope,) = torch.autograd.grad(-((1 - p) ** 2 * p.log()).sum(), p)
        >>> bool(torch.isclose(log_slope(logit, 2.0), (-slope).log()))
        True
    """
    held = logit.clamp(-SUREST, SUREST)
    return (1 - gamma) * softplus(held) - held + (1 + gamma * held.exp() * softplus(-held)).log()
