"""The check before the first step: a head starts at its task's constant prediction, and so must its loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trunkline.chance import torch_stream
from trunkline.errors import DataError
from trunkline.nets.network import Network
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Rows
from trunkline.training.forward import mean_losses

START_ROWS = 20_000  # one batch is too few for a rare task
START_RANGE = (0.8, 1.3)


def first_losses(network: Network, tasks: Sequence[str], train: Rows, losses: Losses, seed: int) -> dict[str, float]:
    """Return each task's loss before the first step, as share of that of its constant prediction.

    Args:
        network: As it was drawn.
        tasks: Their names, in the order of the losses.
        train: Training rows; some of them are looked at.
        losses: Outputs and targets to losses.
        seed: Draws the rows.

    Raises:
        DataError: One is not near 1: wrong unit, loss or labels.
    """
    sample = torch.randperm(len(train.features), generator=torch_stream(seed, "start"))[:START_ROWS]
    found = mean_losses([network], train, sample.sort().values, losses, as_trained=True)[0].tolist()
    labelled = (~torch.isnan(train.targets[sample])).any(dim=0).tolist()
    low, high = START_RANGE
    for name, loss, known in zip(tasks, found, labelled, strict=True):
        if known and not low <= loss <= high:
            raise DataError(
                f"task '{name}': its loss before the first step is {loss:.3g} times that of a constant "
                f"prediction, expected {low} to {high}.\n  Its labels have a few extreme values or a wrong "
                f"unit: look at reports/validation.html, set tasks.{name}.clip or loss: huber"
            )
    return dict(zip(tasks, found, strict=True))
