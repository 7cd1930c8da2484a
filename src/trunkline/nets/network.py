"""The network of one arm: embeddings, a trunk, a head per task.

in      features float32 [rows, width], codes int64 [rows, categorical columns]
out     outputs of all heads side by side, float32 [rows, outputs]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.nets.declarations import Trunk
from trunkline.tasks.base import TaskState

HEAD_SCALE = 0.1  # of the usual initial head weights: predictions start near the constant one
EMBEDDING_SPREAD = 0.1


class Network(nn.Module):
    """Hard sharing: every task's head reads the last layer of one trunk.

    Args:
        features: Width of the prepared float features.
        vocabulary_sizes: Number of codes of each categorical column.
        states: The tasks' states; a head starts at its task's best constant prediction.
        trunk: The declared trunk.
        generator: Draws the initial weights.
    """

    offsets: Tensor

    def __init__(
        self,
        features: int,
        vocabulary_sizes: list[int],
        states: list[TaskState],
        trunk: Trunk,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        starts = np.cumsum([0, *vocabulary_sizes])
        # One table for all columns: a single lookup, and a single gradient.
        self.embedding = nn.Embedding(max(1, int(starts[-1])), trunk.embedding)
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64), persistent=False)
        layers: list[nn.Module] = []
        width = features + trunk.embedding * len(vocabulary_sizes)
        for units in trunk.widths:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(trunk.dropout)]
            width = units
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.Linear(width, sum(state["outputs"] for state in states))
        self._initialise(states, generator)

    def _initialise(self, states: list[TaskState], generator: torch.Generator) -> None:
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_SPREAD, generator=generator)
        for layer in [*self.trunk, self.heads]:
            if isinstance(layer, nn.Linear):
                bound = 1 / layer.in_features**0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        with torch.no_grad():
            self.heads.weight.mul_(HEAD_SCALE)
            self.heads.bias.copy_(torch.tensor([bias for state in states for bias in state["bias"]]))

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return the outputs of all heads, float32 [rows, outputs]."""
        embedded = self.embedding(codes + self.offsets).flatten(1)
        return self.heads(self.trunk(torch.cat([features, embedded], dim=1)))  # type: ignore[no-any-return]
