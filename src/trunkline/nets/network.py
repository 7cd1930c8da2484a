"""The network of one arm: embeddings, a form of sharing over a trunk, a head per task.

in      features float32 [rows, width], codes int64 [rows, categorical columns]
out     outputs of all heads side by side, float32 [rows, outputs]; of a trunk in copies, [copies, rows, outputs]

Stacked (see nets/stack.py), every tensor has the members in front.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.columns.layout import Layout
from trunkline.nets.sharing import HardSharing, Sharing
from trunkline.nets.sharing._tapped import tapped
from trunkline.nets.sharing.base import ManyTrunks
from trunkline.nets.stack import Embedding, Initialised, Linear
from trunkline.nets.trunks import Trunk
from trunkline.tasks._copies import mean_prediction
from trunkline.tasks._focal import FocalInverse
from trunkline.tasks.base import TaskState

HEAD_SCALE = 0.1  # of the usual initial head weights: predictions start near the constant one
LEAST_WIDTH = 8  # of an expert


class Network(nn.Module):
    """Embeddings, what the tasks share and what is their own, and a linear head per task.

    Args:
        features: What the prepared float features are; their width, where all are numbers.
        vocabulary_sizes: Number of codes of each categorical column.
        states: The tasks' states; a head starts at its task's best constant prediction, `start` or else `bias`. What
            stands in `offset` is added to every output: it is no part of what is learned.
        trunk: The declared trunk.
        generator: Draws the initial weights; None leaves them as memory holds them, to be counted.
        sharing: The declared form of sharing.
    """

    offsets: Tensor
    reads: Tensor
    offset: Tensor | None

    def __init__(
        self,
        features: int | Layout,
        vocabulary_sizes: list[int],
        states: Sequence[TaskState],
        trunk: Trunk,
        generator: torch.Generator | None,
        sharing: Sharing | None = None,
    ) -> None:
        super().__init__()
        starts = np.cumsum([0, *vocabulary_sizes])
        numbers = trunk.numbers.build(Layout.of(features))
        columns = _with_words(numbers.columns, len(vocabulary_sizes), trunk.embedding)
        form: Any = trunk.form(columns, len(states))
        if form is None:
            built: Any = (sharing or HardSharing()).build(len(columns), len(states), trunk)
            form = tapped(built, [state.get("tap_layer") for state in states])
        self.states, self.copies = states, getattr(form, "copies", None)
        self.focal_inverse = FocalInverse(states)
        self.tables, self.each = getattr(form, "tables", None), trunk.embedding
        # One table for all columns: a single lookup, and a single gradient. Several tables lie side by side in it.
        self.embedding = Embedding(max(1, int(starts[-1])), trunk.embedding * (self.tables or 1))
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int64), persistent=False)
        self.numbers, self.trunk = numbers, form
        counts = [state["outputs"] for state in states]
        self.heads = Linear(form.width, sum(counts), self.copies, scale=HEAD_SCALE)
        reads = np.repeat(np.arange(len(states)), counts) * sum(counts) + np.arange(sum(counts))
        self.register_buffer("reads", torch.tensor(reads), persistent=False)
        offset = [number for state in states for number in state.get("offset", [0.0] * state["outputs"])]
        self.register_buffer("offset", torch.tensor(offset) if any(offset) else None, persistent=False)
        if generator is not None:
            self._initialise(states, generator)

    def _initialise(self, states: Sequence[TaskState], generator: torch.Generator) -> None:
        for part in self.modules():
            if isinstance(part, Initialised):
                part.initialise(generator)
        with torch.no_grad():
            start = [number for state in states for number in (state.get("start") or state["bias"])]
            self.heads.bias.copy_(torch.tensor(start))

    def look_at(self, features: np.ndarray[Any, Any]) -> None:
        """Learn from the training rows' prepared features, float32 [rows, width], what is data and no weight."""
        self.numbers.look_at(features)

    @property
    def last_shared(self) -> Linear:
        """The last linear layer through which what all tasks share reaches their heads.

        With experts or trunks side by side it holds all of them: weight [(members,) copies, units, width].
        """
        layer: Linear = self.trunk.last
        return layer

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The weights that are one task's each: heads, and what a form of sharing has for each task."""
        return [*self.heads.parameters(), *getattr(self.trunk, "own_weights", [])]

    def prepared(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return what the form reads: [(members,) rows, width]; with several tables, one such per table."""
        features, embedded = self.numbers(features), self.embedding(codes + self.offsets)
        if self.tables is None:
            return torch.cat([features, embedded.flatten(-2)], dim=-1)
        parts = torch.unflatten(embedded, -1, (self.tables, self.each)).movedim(-2, -4).flatten(-2)
        repeated = features.unsqueeze(-3).expand(*parts.shape[:-1], features.shape[-1])
        return torch.cat([repeated, parts], dim=-1)

    def trunk_output(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return what the heads read, float32 [(copies,) rows, width]; of its own per task, [rows, tasks, width]."""
        shared: Tensor = self.trunk(self.prepared(features, codes))
        return shared

    def head_outputs(self, shared: Tensor) -> Tensor:
        """Return the outputs of all heads, float32 [rows, outputs], for what `trunk_output` gave."""
        if not self.trunk.own:
            outputs: Tensor = self.heads(shared)
        else:
            # Every head on every task's numbers in one product; of these only its own task's count.
            of_all = torch.unflatten(self.heads(shared.flatten(-3, -2)), -2, shared.shape[-3:-1])
            outputs = of_all.flatten(-2).index_select(-1, self.reads)
        return outputs if self.offset is None else outputs + self.offset

    def without(self, dropped: Sequence[bool], states: Sequence[TaskState]) -> Network:
        """Return the network with the heads of some tasks only; not for a stack.

        Args:
            dropped: Of each task, whether its head goes.
            states: The tasks' states.
        """
        counts = [state["outputs"] for state in states]
        stays = np.repeat(~np.array(dropped), counts)
        kept, slim = torch.from_numpy(np.flatnonzero(stays)), copy.deepcopy(self)
        slim.heads.weight = nn.Parameter(self.heads.weight.detach()[..., kept, :])
        slim.heads.bias = nn.Parameter(self.heads.bias.detach()[..., kept])
        slim.states = [state for state, goes in zip(states, dropped, strict=True) if not goes]
        slim.focal_inverse = FocalInverse(slim.states)
        if self.offset is not None:
            slim.offset = self.offset[kept]
        tasks = np.repeat(np.arange(len(counts)), counts)[stays]
        slim.reads = torch.from_numpy(tasks * len(kept) + np.arange(len(kept)))
        return slim

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return the outputs of all heads, float32 [(copies,) rows, outputs]."""
        return self.head_outputs(self.trunk_output(features, codes))

    def combined(self, outputs: Tensor, *, as_trained: bool = False) -> Tensor:
        """Return what is scored of the outputs, float32 [rows, outputs]: of copies their mean prediction.

        Args:
            outputs: Of all heads, as `forward` returns them.
            as_trained: Leave those of focal loss as that loss reads them.
        """
        rows = outputs if as_trained else self.focal_inverse(outputs)
        return rows if self.copies is None else mean_prediction(self.states, rows)


def _with_words(columns: list[int], words: int, width: int) -> list[int]:
    """Return the input that each of the prepared numbers comes from, embeddings of categorical values included."""
    first = max(columns, default=-1) + 1
    return [*columns, *(first + word for word in range(words) for _ in range(width))]


def parameter_count(
    features: int | Layout, vocabulary_sizes: list[int], states: Sequence[TaskState], trunk: Trunk, sharing: Sharing
) -> dict[str, int]:
    """Return how many numbers a network of these measures learns: `all` of them, and those in `tables`."""
    with torch.device("meta"):
        network = Network(features, vocabulary_sizes, states, trunk, None, sharing)
    return {
        "all": sum(parameter.numel() for parameter in network.parameters()),
        "tables": network.embedding.weight.numel(),
    }


def narrowed(features: int | Layout, vocabulary_sizes: list[int], trunk: Trunk, models: int) -> Trunk:
    """Return the trunk whose `models` copies, each with one output, together learn about as much as `trunk` does.

    Embeddings keep their size, so the layers give way; at least one unit per layer remains.
    """
    one = {"outputs": 1}

    def count(width: int, tasks: int) -> int:
        measured = trunk.model_copy(update={"width": width})
        return parameter_count(features, vocabulary_sizes, [one] * tasks, measured, HardSharing())["all"]

    wanted = count(trunk.widths[0], models) / models
    return trunk.model_copy(update={"width": _widest(1, trunk.widths[0], lambda width: count(width, 1) <= wanted)})


def fitted_sharing(
    features: int | Layout, vocabulary_sizes: list[int], states: Sequence[TaskState], trunk: Trunk, sharing: Sharing
) -> Sharing:
    """Return the form of sharing with its width set, so that it learns about as much as hard sharing of `trunk`.

    Tables of categorical values are left out of both counts. A width that is declared stays; no layer becomes
    narrower than 8 units.
    """
    if not isinstance(sharing, ManyTrunks) or sharing.width is not None:
        return sharing

    def count(form: Sharing) -> int:
        found = parameter_count(features, vocabulary_sizes, states, trunk, form)
        return found["all"] - found["tables"]

    wanted, widest = count(HardSharing()), trunk.widths[0]

    def fits(width: int) -> bool:
        return count(sharing.model_copy(update={"width": width})) <= wanted

    return sharing.model_copy(update={"width": _widest(min(LEAST_WIDTH, widest), widest, fits)})


def _widest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Return the largest width from `low` to `high` that fits; `low` where none does."""
    while low < high:
        width = (low + high + 1) // 2
        low, high = (width, high) if fits(width) else (low, width - 1)
    return low
