"""Networks of one shape stacked: the seeds of an arm, trained in one pass.

A stack is a module like its members whose parameters have one more dimension in front, `[members, ...]`; layers here
read either form. On a GPU the stack is run as a whole, as batched products. On a CPU each member is run by itself,
which keeps its activations in the cache, on views of the stack's memory, so that clipping and the optimiser still
pass over all members at once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Linear(nn.Module):
    """A fully connected layer, weight [(members,) units, width], bias [(members,) units].

    Args:
        width: Of what comes in.
        units: Of what goes out.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(units, width))
        self.bias = nn.Parameter(torch.empty(units))

    @property
    def units(self) -> int:
        """Width of what goes out."""
        return self.bias.shape[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) rows, units] for `x` [(members,) rows, width]."""
        if self.weight.dim() == 2:
            return functional.linear(x, self.weight, self.bias)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))


class Embedding(nn.Module):
    """A table of vectors, weight [(members,) codes, width].

    Args:
        codes: Rows of the table.
        width: Numbers per code.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(codes, width))

    def forward(self, codes: Tensor) -> Tensor:
        """Return [(members,) rows, columns, width] for `codes` int [(members,) rows, columns]."""
        if self.weight.dim() == 2:
            return functional.embedding(codes, self.weight)
        members, size, width = self.weight.shape
        first = torch.arange(members, device=codes.device).view(-1, 1, 1) * size
        return functional.embedding(codes + first, self.weight.reshape(members * size, width))


class Dropout(nn.Module):
    """Silence a share of the units while training, as `nn.Dropout` does, each member by draws of its own.

    A mask takes 16 random bits per unit, so the share is rounded to 1/65536: torch's own draws one Bernoulli variable
    per unit, which was a quarter of a training step on a CPU.

    Args:
        share: Of the units silenced per step, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.cut = min(round(share * 65_536), 65_535)  # of 65,536 equally likely words
        self.streams: Sequence[torch.Generator | None] = (None,)  # None: torch's own generator

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` [(members,) rows, units] with some units 0 and the others larger by as much."""
        if not self.training or not self.cut:
            return x
        words = torch.empty(*x.shape[:-1], -(-x.shape[-1] // 4), dtype=torch.int64, device=x.device)
        for part, stream in zip(words.view(len(self.streams), -1), self.streams, strict=True):
            part.random_(-(2**63), None, generator=stream)
        bits = words.view(torch.int16)[..., : x.shape[-1]]
        return x * (bits >= self.cut - 32_768).to(x.dtype).mul_(65_536 / (65_536 - self.cut))


def draw_from(module: nn.Module, streams: Sequence[torch.Generator]) -> None:
    """Let every dropout of `module` draw from `streams`, one per member, on the device of the module."""
    for part in module.modules():
        if isinstance(part, Dropout):
            part.streams = streams


def stack(members: Sequence[AnyModule]) -> AnyModule:
    """Return one module whose parameters are those of `members`, one behind the other; buffers are the first's."""
    whole = copy.deepcopy(members[0])
    of_members = [dict(member.named_parameters()) for member in members]
    for name, _ in list(whole.named_parameters()):
        _put(whole, name, torch.stack([parameters[name].detach() for parameters in of_members]))
    return whole


def member(whole: AnyModule, place: int) -> AnyModule:
    """Return one member of a stack; its parameters, and gradients where there are any, are views of the stack's."""
    part = copy.deepcopy(whole)
    for name, value in whole.named_parameters():
        _put(part, name, value.detach()[place])
        part.get_parameter(name).grad = None if value.grad is None else value.grad[place]
    return part


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Parameter(value))
