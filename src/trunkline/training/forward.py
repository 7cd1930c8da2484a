"""Networks over many rows, a part at a time and without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.nets.network import Network
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Rows
from trunkline.training.rebalanced import row_counts

SCORE_BATCH = 8192


def mean_losses(
    networks: Sequence[Network], rows: Rows, places: Tensor, losses: Losses, as_trained: bool = False
) -> Tensor:
    """Return each network's mean loss per task, float32 [networks, tasks] on the CPU; NaN = no label here.

    Args:
        networks: On one device, as are the losses; they are left in evaluation mode.
        rows: The rows, of which those at `places` count.
        places: int64, ascending.
        losses: Outputs and targets to losses.
        as_trained: Give them the outputs that training sees, before what a loss does to confidences is undone.
    """
    for network in networks:
        network.eval()
    device, tasks = next(networks[0].parameters()).device, rows.targets.shape[1]
    sums, counts = torch.zeros(len(networks), tasks, device=device), torch.zeros(tasks, device=device)
    with torch.inference_mode():
        for first in range(0, len(places), SCORE_BATCH):
            batch = rows.take(places[first : first + SCORE_BATCH], device)
            for place, network in enumerate(networks):
                outputs = network.combined(network(batch.features, batch.codes), as_trained=as_trained)
                sums[place] += losses.sums(outputs, batch.targets, batch.weights)[0]
            counts += row_counts(batch.targets, batch.weights)
    return (sums / counts).cpu()


def network_outputs(network: Network, features: np.ndarray[Any, Any], codes: np.ndarray[Any, Any]) -> Tensor:
    """Return the heads' outputs for all rows, float32 [rows, outputs], on the CPU."""
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for first in range(0, len(features), SCORE_BATCH):
            part = slice(first, first + SCORE_BATCH)
            inputs = torch.from_numpy(np.array(features[part])), torch.from_numpy(np.array(codes[part]))
            outputs = network(*(tensor.to(device) for tensor in inputs))
            parts.append(network.combined(outputs).float().cpu())
    return torch.cat(parts) if parts else torch.zeros(0, network.heads.units)
