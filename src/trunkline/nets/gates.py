"""What the gates of a fitted network do: how evenly each task takes of the experts, and which lie idle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.nets.network import Network
from trunkline.nets.sharing._gates import Gated

ROWS = 8192  # at once


def gate_report(
    network: Network, features: np.ndarray[Any, Any], codes: np.ndarray[Any, Any], tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """Return how each task's gate spreads over the experts, per level; nothing where there are no gates.

    Args:
        network: One fitted network, not a stack, in evaluation mode.
        features: float32 [rows, width]; at least one row.
        codes: int [rows, categorical columns].
        tasks: The tasks' names in the order of the heads.

    Returns:
        Per level and task `level` (from 1), `task`, `entropy` (the mean over rows of the entropy of the row's shares
        over that of even ones: 1 = takes of all alike, 0 = of one expert per row; None where there is but one expert)
        and `load`, the mean share of each expert by name.
    """
    form = network.trunk
    if not isinstance(form, Gated):
        return []
    sums: list[Tensor] = []
    entropies: list[Tensor] = []
    for prepared in _prepared(network, features, codes):
        levels = [level.double().cpu() for level in form.shares(prepared)]
        rows = [level.sum(dim=0) for level in levels]
        spread = [torch.special.entr(level).sum(dim=(0, 2)) for level in levels]
        sums = [total + part for total, part in zip(sums, rows, strict=True)] if sums else rows
        entropies = [total + part for total, part in zip(entropies, spread, strict=True)] if entropies else spread
    names, count = form.experts(tasks), len(features)
    even = math.log(len(names))
    return [
        {
            "level": level,
            "task": task,
            "entropy": float(entropy[place]) / count / even if even else None,
            "load": dict(zip(names, (total[place] / count).tolist(), strict=True)),
        }
        for level, (total, entropy) in enumerate(zip(sums, entropies, strict=True), start=1)
        for place, task in enumerate(tasks)
    ]


def _prepared(network: Network, features: np.ndarray[Any, Any], codes: np.ndarray[Any, Any]) -> Iterator[Tensor]:
    device = network.heads.weight.device
    with torch.inference_mode():
        for first in range(0, len(features), ROWS):
            part = slice(first, first + ROWS)
            rows = (torch.from_numpy(np.array(values[part])).to(device) for values in (features, codes))
            yield network.prepared(*rows)
