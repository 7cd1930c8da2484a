"""Hard sharing in which some heads read an earlier layer of the trunk than the last.

source  Søgaard and Goldberg 2016, "Deep multi-task learning with low level tasks supervised at lower layers",
        doi:10.18653/v1/P16-2038
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trunkline.nets.layers import Layered
from trunkline.nets.sharing._form import OverTrunk
from trunkline.nets.stack import Linear


class Tapped(OverTrunk):
    """One trunk, of which each task's head reads the layer it is told to.

    Args:
        trunk: The trunk; all its layers have one width.
        taps: Per task the layer that its head reads, from 1.
    """

    def __init__(self, trunk: Layered, taps: Sequence[int]) -> None:
        super().__init__()
        self.trunk, self.taps = trunk, list(taps)

    @property
    def own_weights(self) -> list[nn.Parameter]:
        """The layers that a single head reads."""
        return [weight for layer in self.trunk.layers[sorted(self.taps)[-2] :] for weight in layer.parameters()]

    @property
    def last(self) -> Linear:
        """The last layer that every task's gradient reaches: that of the lowest tap."""
        return self.trunk.linear_of(min(self.taps))

    def forward(self, x: Tensor) -> Tensor:
        """Return what each head reads, [(members,) rows, tasks, width]."""
        outputs = []
        for layer in self.trunk.layers[: max(self.taps)]:
            x = layer(x)
            outputs.append(x)
        return torch.stack([outputs[tap - 1] for tap in self.taps], dim=-2)


def tapped(form: nn.Module, taps: Sequence[int | None]) -> nn.Module:
    """Return the form in which each head reads its layer; the form itself where all read the last.

    Args:
        form: A trunk.
        taps: Per task the layer that its head reads, from 1; None = the last.
    """
    if not isinstance(form, Layered):
        assert not any(taps)
        return form
    depth = len(form.layers)
    layers = [tap or depth for tap in taps]
    return form if set(layers) == {depth} else Tapped(form, layers)
