"""What the torch side of a form of sharing offers to the network, the monitor and the gradient methods."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from torch import Tensor, nn

from trunkline.nets.layers import Layered
from trunkline.nets.stack import Linear


class Form(Protocol):
    """Layers between the prepared columns and the heads; a module.

    One whose heads each have several `copies`, an attribute, returns [(members,) copies, rows, width].
    """

    @property
    def own(self) -> bool:
        """Whether each task's head reads an output of its own, [(members,) rows, tasks, width], not a common one."""

    @property
    def width(self) -> int:
        """Of what a head reads."""

    @property
    def last(self) -> Linear:
        """The last linear layer through which what all tasks share reaches their heads.

        Where experts or trunks stand side by side, its weight has them in front: [(members,) copies, units, width].
        """

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the heads read, for the prepared columns `x` [(members,) rows, inputs]."""


class OwnOutputs(nn.Module):
    """A form whose heads each read an output of their own."""

    own = True

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The weights that are one task's each, which no other task's gradient reaches."""
        return []

    @property
    @abstractmethod
    def shared(self) -> Layered:
        """What all tasks share last: a trunk, or several side by side."""

    @property
    def last(self) -> Linear:
        """The last layers of what all tasks share, without what a task changes about them."""
        return self.shared.last

    @property
    def width(self) -> int:
        """Of what a head reads."""
        return self.shared.width


class OverTrunk(OwnOutputs):
    """A form whose heads read one trunk, each in its own way."""

    trunk: Layered

    @property
    def shared(self) -> Layered:
        """The trunk."""
        return self.trunk
