"""The torch side of the FT-Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Norm
from trunkline.nets.stack import Dropout, Linear

WIDER = 2  # units between the two layers of a block, as a multiple of the token's width


class Tokens(nn.Module):
    """A token for each input, and one for each task.

    Args:
        columns: The input that each of the prepared numbers comes from.
        tasks: Tasks.
        width: Of a token.
    """

    belongs: Tensor

    def __init__(self, columns: Sequence[int], tasks: int, width: int) -> None:
        super().__init__()
        inputs = sorted(set(columns))
        belongs = torch.tensor([[column == own for own in inputs] for column in columns], dtype=torch.float32)
        self.register_buffer("belongs", belongs, persistent=False)
        self.weight = nn.Parameter(torch.empty(len(columns), width))
        self.bias = nn.Parameter(torch.empty(len(inputs), width))
        self.tasks = nn.Parameter(torch.empty(tasks, width))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all evenly within one over the root of the width."""
        bound = 1 / self.weight.shape[-1] ** 0.5
        for parameter in (self.weight, self.bias, self.tasks):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) rows, inputs + tasks, width] for the prepared columns `x` [(members,) rows, columns]."""
        # One layer in which a number reaches its own input's token alone.
        wide = (self.weight.unsqueeze(-2) * self.belongs.unsqueeze(-1)).flatten(-2)
        of_inputs = torch.unflatten(torch.matmul(x, wide), -1, self.bias.shape[-2:]) + self.bias.unsqueeze(-3)
        of_tasks = self.tasks.unsqueeze(-3).expand(*x.shape[:-1], *self.tasks.shape[-2:])
        return torch.cat([of_inputs, of_tasks], dim=-2)


class Attention(nn.Module):
    """What tokens take of each other.

    Args:
        width: Of a token.
        heads: Ways to look, side by side.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.each = heads, -(-width // heads)
        inner = self.heads * self.each
        self.ask, self.tell = Linear(width, inner), Linear(width, 2 * inner)
        self.take = Linear(inner, width)

    def forward(self, asking: Tensor, tokens: Tensor, walls: Tensor) -> Tensor:
        """Return [(members,) rows, asking, width].

        Args:
            asking: The tokens that look, [(members,) rows, asking, width].
            tokens: Those they look at, [(members,) rows, tokens, width].
            walls: What is added to how much one heeds another, [asking, tokens]: 0, or minus infinity.
        """
        keys, values = self._parted(per_token(self.tell, tokens), 2 * self.heads).tensor_split(2, dim=-3)
        questions = self._parted(per_token(self.ask, asking), self.heads) / math.sqrt(self.each)
        heed = (torch.matmul(questions, keys.transpose(-2, -1)) + walls).softmax(dim=-1)
        return per_token(self.take, torch.matmul(heed, values).transpose(-3, -2).flatten(-2))

    def _parted(self, x: Tensor, parts: int) -> Tensor:
        """Return [(members,) rows, parts, tokens, width of one] for `x` [(members,) rows, tokens, ...]."""
        return torch.unflatten(x, -1, (parts, self.each)).transpose(-3, -2)


class Block(nn.Module):
    """Attention, then two layers, each added to what comes in.

    Args:
        width: Of a token.
        heads: Of the attention.
        dropout: Share of what is added that is silenced per step.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.attention, self.dropout = Norm(width), Attention(width, heads), Dropout(dropout)
        self.inner = nn.Sequential(Norm(width), Linear(width, WIDER * width), nn.ReLU(), Linear(WIDER * width, width))

    def forward(self, tokens: Tensor, asking: int, walls: Tensor) -> Tensor:
        """Return the last `asking` tokens, [(members,) rows, asking, width], for `tokens` [(members,) rows, ...]."""
        normed, kept = per_token(self.norm, tokens), tokens[..., -asking:, :]
        seen = self.attention(normed[..., -asking:, :], normed, walls[-asking:])
        kept = kept + self.dropout(seen)
        total: Tensor = kept + self.dropout(per_token(self.inner, kept))
        return total


class FTTransformer(nn.Module):
    """Tokens of inputs and tasks through blocks; each head reads its task's token.

    Args:
        columns: The input that each of the prepared numbers comes from.
        tasks: Tasks.
        widths: Of a token in each block; all the same.
        heads: Of the attention.
        dropout: Share of what a block adds that is silenced per step.
    """

    own = True
    walls: Tensor

    def __init__(self, columns: Sequence[int], tasks: int, widths: list[int], heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens = Tokens(columns, tasks, widths[0])
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for width in widths])
        self.norm = Norm(widths[-1])
        inputs = len(set(columns))
        walls = torch.zeros(inputs + tasks, inputs + tasks)
        walls[:, inputs:] = -math.inf  # nobody reads a task's token
        walls.fill_diagonal_(0.0)  # but itself
        self.register_buffer("walls", walls, persistent=False)
        self.asking = [len(walls)] * (len(widths) - 1) + [tasks]  # after the last block, the tasks' tokens alone count

    @property
    def last(self) -> Linear:
        """The last layer of the last block; the sum goes past it, so not all that the heads read went through it."""
        block = self.blocks[-1]
        assert isinstance(block, Block)
        layer = block.inner[-1]
        assert isinstance(layer, Linear)
        return layer

    @property
    def width(self) -> int:
        """Of what a head reads."""
        return self.last.units

    def forward(self, x: Tensor) -> Tensor:
        """Return each task's token, [(members,) rows, tasks, width], for the prepared columns `x`."""
        tokens = self.tokens(x)
        for block, asking in zip(self.blocks, self.asking, strict=True):
            tokens = block(tokens, asking, self.walls)
        return per_token(self.norm, tokens).relu()


def per_token(layer: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """Return what a layer over [(members,) rows, width] makes of every token, for [(members,) rows, tokens, width]."""
    return torch.unflatten(layer(tokens.flatten(-3, -2)), -2, tokens.shape[-3:-1])
