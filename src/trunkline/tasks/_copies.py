"""Several predictions of the same rows as one, in the terms of the heads: what follows sees a single output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trunkline.tasks.base import TaskState


def mean_prediction(states: Sequence[TaskState], outputs: Tensor) -> Tensor:
    """Return the outputs that predict the mean of what each copy predicts, float32 [(members,) rows, outputs].

    Args:
        states: The tasks' states, in the order of the heads' outputs.
        outputs: Of the copies, float32 [(members,) copies, rows, outputs of all tasks].
    """
    parts = torch.split(outputs, [state["outputs"] for state in states], dim=-1)
    return torch.cat([_mean(state["kind"], part) for state, part in zip(states, parts, strict=True)], dim=-1)


def _mean(kind: str, outputs: Tensor) -> Tensor:
    # Counted from the front: onnxruntime gives a sum of no rows the wrong shape where it is counted from the end.
    copies = outputs.dim() - 3
    if kind == "binary":
        return logsigmoid(outputs).logsumexp(dim=copies) - logsigmoid(-outputs).logsumexp(dim=copies)
    if kind == "multiclass":
        return outputs.log_softmax(dim=-1).logsumexp(dim=copies) - math.log(outputs.shape[copies])
    return outputs.mean(dim=copies)
