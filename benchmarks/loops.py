"""The plain ways to train the same network: bare tensors in a loop, and torch's TensorDataset with its DataLoader.

Both run the plain step: the losses of the tasks one by one over the rows that have a label, summed; AdamW. They
leave out what our loop also does in each step: the schedule, the clipping, unseen values, the look for NaN.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from trunkline.chance import torch_stream
from trunkline.nets.network import Network
from trunkline.tasks import TaskState
from trunkline.training.batches import Rows
from trunkline.training.fit import Arm


class PlainTraining:
    """Trains an arm's network without our loop.

    Args:
        arm: What to train; only binary and numeric tasks.
        rows: The training rows.
    """

    def __init__(self, arm: Arm, rows: Rows) -> None:
        self.states, self.batch = list(arm.states.values()), arm.training.batch
        generator = torch_stream(0, "weights")
        self.network = Network(arm.features, arm.vocabulary_sizes, self.states, arm.trunk, generator).train()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=arm.training.learning_rate,
            weight_decay=arm.training.weight_decay,
            fused=True,
        )
        self.tensors = torch.from_numpy(np.array(rows.features)), torch.from_numpy(np.array(rows.codes)), rows.targets

    def bare_epoch(self) -> None:
        """Permute all rows once and step through slices."""
        count = len(self.tensors[0])
        order = torch.randperm(count)
        features, codes, targets = (tensor[order] for tensor in self.tensors)
        for first in range(0, count // self.batch * self.batch, self.batch):
            part = slice(first, first + self.batch)
            self._step(features[part], codes[part], targets[part])

    def loader_epoch(self) -> None:
        """Let a DataLoader collate single rows, in this process, which is its default."""
        loader = DataLoader(TensorDataset(*self.tensors), self.batch, shuffle=True, drop_last=True)
        for features, codes, targets in loader:
            self._step(features, codes, targets)

    def _step(self, features: Tensor, codes: Tensor, targets: Tensor) -> None:
        outputs = self.network(features, codes)
        losses = [_loss(state, outputs[:, place], targets[:, place]) for place, state in enumerate(self.states)]
        self.optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def _loss(state: TaskState, output: Tensor, target: Tensor) -> Tensor:
    known = ~torch.isnan(target)
    plain = functional.binary_cross_entropy_with_logits if state["kind"] == "binary" else functional.mse_loss
    return plain(output[known], target[known]) / float(state["constant_loss"])
