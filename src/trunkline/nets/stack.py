"""Networks of one shape stacked: the seeds of an arm, trained in one pass.

A stack is a module like its members whose parameters have one more dimension in front, `[members, ...]`; layers here
read either form. On a GPU the stack is run as a whole, as batched products. On a CPU each member is run by itself,
which keeps its activations in the cache, on views of the stack's memory, so that clipping and the optimiser still
pass over all members at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING_SPREAD = 0.1

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@runtime_checkable
class Initialised(Protocol):
    """A module that draws its own initial weights."""

    def initialise(self, generator: torch.Generator) -> None:
        """Set the module's own parameters, not those of modules in it."""


class Linear(nn.Module):
    """A fully connected layer, or several side by side as one product.

    The weight is [(members,) (copies,) units, width], the bias [(members,) (copies,) units].

    Args:
        width: Of what comes in.
        units: Of what goes out.
        copies: Layers side by side; None = one, without that dimension.
        scale: Of the initial weights and bias, as a share of the usual.
    """

    def __init__(self, width: int, units: int, copies: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        front = () if copies is None else (copies,)
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(*front, units, width))
        self.bias = nn.Parameter(torch.empty(*front, units))

    @property
    def units(self) -> int:
        """Width of what goes out."""
        return self.bias.shape[-1]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights and bias evenly within one over the root of the width."""
        bound = 1 / self.weight.shape[-1] ** 0.5
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
            if self.scale != 1:
                parameter.data.mul_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return [(members,) (copies,) rows, units].

        Args:
            x: [(members,) (copies,) rows, width], or [(members,) rows, width] for all copies.
        """
        if x.dim() == self.weight.dim():
            return _product(x, self.weight, self.bias)
        # One input for all copies: one wide layer.
        wide = _product(x, self.weight.flatten(-3, -2), self.bias.flatten(-2))
        return torch.unflatten(wide, -1, self.bias.shape[-2:]).transpose(-3, -2)


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x weight' + bias, [..., rows, units]; all have the same dimensions in front."""
    if weight.dim() == 2:
        return functional.linear(x, weight, bias)
    if weight.dim() == 3:
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
    flat = torch.baddbmm(bias.flatten(0, 1).unsqueeze(1), x.flatten(0, 1), weight.flatten(0, 1).transpose(1, 2))
    return torch.unflatten(flat, 0, x.shape[:2])


class Embedding(nn.Module):
    """A table of vectors, weight [(members,) codes, width].

    Args:
        codes: Rows of the table.
        width: Numbers per code.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(codes, width))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the vectors from a narrow normal distribution."""
        nn.init.normal_(self.weight, std=EMBEDDING_SPREAD, generator=generator)

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


@contextmanager
def quiet(network: nn.Module) -> Iterator[None]:
    """Turn dropout off meanwhile, so that no random number is drawn."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


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
