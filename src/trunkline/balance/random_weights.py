"""Random weights, drawn anew in each step: the litmus test. A method that is no better than this one is not worth it.

in      one normalised loss per task                (tasks,)
out     one loss                                    ()
source  Lin et al. 2022, "Reasonable Effectiveness of Random Weighting", arXiv:2111.10603
Differs: drawn from a stream named by seed and step, so that a resumed training draws the same; TorchJD's Random draws
        from torch's own. Times the declared weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from trunkline.balance.base import LossMethod, Moment, weighted_mean
from trunkline.chance import numpy_stream

if TYPE_CHECKING:
    from torch import Tensor


class RandomWeights(LossMethod):
    """Draw the weights. Only to see whether another method earns its keep."""

    kind: Literal["random"]

    def loss(self, losses: Tensor, known: Tensor, numbers: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Return the mean of the losses by declared weights times the softmax of normal draws, with mean 1."""
        tasks = losses.shape[-1]
        drawn = np.stack([numpy_stream(seed, "balance", moment.step).normal(size=tasks) for seed in moment.seeds])
        shares = np.exp(drawn) / np.exp(drawn).mean(axis=-1, keepdims=True)
        return weighted_mean(losses * losses.new_tensor(shares).view(losses.shape), numbers["weights"])
