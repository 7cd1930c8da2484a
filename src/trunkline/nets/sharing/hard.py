"""Hard sharing: every task reads the same trunk; only the heads are their own.

in      prepared columns                                [rows, inputs]
out     the trunk's last layer, for all heads           [rows, width]
source  Caruana 1997, "Multitask Learning", doi:10.1023/A:1007379606734
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.nets.sharing.base import BaseSharing
from trunkline.nets.trunks.base import BaseTrunk

if TYPE_CHECKING:
    from trunkline.nets.sharing._form import Form


class HardSharing(BaseSharing):
    """One trunk for all tasks, a head for each. The default; where it hurts a task, first try a wider trunk."""

    kind: Literal["hard"] = "hard"

    def build(self, inputs: int, tasks: int, trunk: BaseTrunk) -> Form:
        """Return the trunk itself; arguments as those of `BaseSharing.build`."""
        from trunkline.nets.layers import Layers

        return trunk.build(inputs, Layers())
