"""Time until an event, the torch side: per bin the logit of getting through it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.tasks._chain import ChainLoss, beyond, fit_chain, mean_chain
from trunkline.tasks._head import Correction, Head, corrected
from trunkline.tasks.base import Array, TaskState
from trunkline.tasks.survival import mean_time, steps


class SurvivalHead(Head):
    """A logit per bin; minus that of the hazard."""

    def targets(self, state: TaskState, labels: Array) -> Tensor:
        """Return the bins a row got through and whether the event then came."""
        known = ~np.isnan(labels)
        gone, stopped = steps(np.where(known, labels, 0.0), np.array(state["cuts"]))
        return torch.from_numpy(np.where(known, 2.0 * gone + stopped, np.nan).astype(np.float32))

    def loss(self, state: TaskState) -> nn.Module:
        """Return the likelihood of the bins."""
        return ChainLoss()

    def predict(self, state: TaskState, output: Tensor, correction: Correction) -> Tensor:
        """Return the survival at the end of each bin [rows, bins]."""
        return torch.cat(beyond(corrected(state, output, correction)), dim=1)

    def derived(self, state: TaskState, prediction: Tensor) -> list[Tensor]:
        """Return the restricted mean time [rows, 1]."""
        constant, by_bin = mean_time(np.array(state["cuts"]))
        factors = torch.tensor(by_bin, dtype=prediction.dtype, device=prediction.device)
        return [(prediction * factors).sum(dim=1, keepdim=True) + constant]

    def mean(self, state: TaskState, outputs: Tensor) -> Tensor:
        """Return the logits of going on of the mean prediction; arguments as those of `Head.mean`."""
        return mean_chain(outputs)

    def correction(self, state: TaskState, outputs: Array, targets: Array, kind: str) -> Correction:
        """Fit one slope for all bins."""
        return fit_chain(outputs, targets, np.array(state["bias"]), kind)
