"""The network of one arm: embeddings, a trunk, a head per task.

in      features float32 [rows, width], codes int64 [rows, categorical columns]
out     outputs of all heads side by side, float32 [rows, outputs]

Stacked (see nets/stack.py), every tensor has the members in front.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.nets.declarations import Trunk
from trunkline.nets.stack import Dropout, Embedding, Linear
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
        self.embedding = Embedding(max(1, int(starts[-1])), trunk.embedding)
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64), persistent=False)
        layers: list[nn.Module] = []
        width = features + trunk.embedding * len(vocabulary_sizes)
        for units in trunk.widths:
            layers += [Linear(width, units), nn.ReLU(), Dropout(trunk.dropout)]
            width = units
        self.trunk = nn.Sequential(*layers)
        self.heads = Linear(width, sum(state["outputs"] for state in states))
        self._initialise(states, generator)

    def _initialise(self, states: list[TaskState], generator: torch.Generator) -> None:
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_SPREAD, generator=generator)
        for layer in [*self.trunk, self.heads]:
            if isinstance(layer, Linear):
                bound = 1 / layer.weight.shape[1] ** 0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        with torch.no_grad():
            self.heads.weight.mul_(HEAD_SCALE)
            self.heads.bias.copy_(torch.tensor([bias for state in states for bias in state["bias"]]))

    @property
    def last_shared(self) -> Linear:
        """The last layer that every task's head reads."""
        return [layer for layer in self.trunk if isinstance(layer, Linear)][-1]

    def trunk_output(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return what the heads read, float32 [rows, width of the last layer]."""
        embedded = self.embedding(codes + self.offsets).flatten(-2)
        shared: Tensor = self.trunk(torch.cat([features, embedded], dim=-1))
        return shared

    def head_outputs(self, shared: Tensor) -> Tensor:
        """Return the outputs of all heads, float32 [rows, outputs], for the trunk's output."""
        outputs: Tensor = self.heads(shared)
        return outputs

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return the outputs of all heads, float32 [rows, outputs]."""
        return self.head_outputs(self.trunk_output(features, codes))


def parameter_count(features: int, vocabulary_sizes: list[int], trunk: Trunk, outputs: int) -> int:
    """Return how many numbers a network of these measures learns."""
    count, width = sum(vocabulary_sizes) * trunk.embedding, features + trunk.embedding * len(vocabulary_sizes)
    for units in [*trunk.widths, outputs]:
        count, width = count + (width + 1) * units, units
    return count


def narrowed(features: int, vocabulary_sizes: list[int], trunk: Trunk, models: int) -> Trunk:
    """Return the trunk whose `models` copies, each with one output, together learn about as much as `trunk` does.

    Embeddings keep their size, so the layers give way; at least one unit per layer remains.
    """
    wanted = parameter_count(features, vocabulary_sizes, trunk, models) / models
    low, high = 1, trunk.widths[0]
    while low < high:
        width = (low + high + 1) // 2
        narrower = trunk.model_copy(update={"width": width})
        fits = parameter_count(features, vocabulary_sizes, narrower, 1) <= wanted
        low, high = (width, high) if fits else (low, width - 1)
    return trunk.model_copy(update={"width": low})
