"""Several predictions of the same rows as one, in the terms of the heads: what follows sees a single output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trunkline.tasks._modules import head_of
from trunkline.tasks.base import TaskState


def mean_prediction(states: Sequence[TaskState], outputs: Tensor) -> Tensor:
    """Return the outputs that predict the mean of what each copy predicts, float32 [(members,) rows, outputs].

    Args:
        states: The tasks' states, in the order of the heads' outputs.
        outputs: Of the copies, float32 [(members,) copies, rows, outputs of all tasks].
    """
    parts = torch.split(outputs, [state["outputs"] for state in states], dim=-1)
    return torch.cat([head_of(state).mean(state, part) for state, part in zip(states, parts, strict=True)], dim=-1)
