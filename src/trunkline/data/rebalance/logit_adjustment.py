"""Logit adjustment: the head learns what lies above the prior, and the prior is added to it.

in      rows per class, of share pi_c
out     the loss reads f + tau log pi, and so does every prediction: these are the probabilities of the rows as they
        are, whatever tau. The head f alone, which the plan's `offset` tau log pi is added to, is `prior_shift` =
        -tau log pi away from them: with tau 1 its largest output is the best guess were all classes equally common.
source  Menon et al. 2021, "Long-tail learning via logit adjustment", arXiv:2007.07314, equation 10
Differs: the paper decides by f, for the mean of the classes' error rates; a probability must have the prior in it. The
        head starts at (1 - tau) log pi, so that predictions start at the prior. Every head here starts at the prior:
        what is left of the method is that weight decay pulls f to 0 and not the prior, so that `equal` ends at nearly
        the same predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from trunkline.data.rebalance.base import BaseRule, Plan

if TYPE_CHECKING:
    from trunkline.tasks import Task


class LogitAdjustment(BaseRule):
    """Keep the prior out of what is learned. Differs from `equal` where weight decay is strong."""

    kind: Literal["logit_adjustment"]
    tau: float = Field(1.0, gt=0, le=10, description="How much of the log prior is added to the head. 1 = all of it.")

    def plan(self, task: Task, classes: Mapping[str, int], known: np.ndarray[Any, Any]) -> Plan:
        """Return `offset`, per class what is added to the head's output, in training as in each prediction."""
        counts = np.array(list(classes.values()), dtype=np.float64)
        adjusted = self.tau * np.log(counts / counts.sum())
        return {
            "prior_shift": dict(zip(classes, (-adjusted).tolist(), strict=True)),
            "offset": dict(zip(classes, adjusted.tolist(), strict=True)),
        }
