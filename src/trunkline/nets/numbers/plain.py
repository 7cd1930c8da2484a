"""Numbers as they are prepared.

in      prepared features                               [rows, features]
out     the same                                        [rows, features]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.columns.layout import Layout
from trunkline.nets.numbers.base import BaseNumbers

if TYPE_CHECKING:
    from trunkline.nets.numbers._features import Features


class PlainNumbers(BaseNumbers):
    """Each number as it is prepared. The cheapest; suits numbers whose effect is smooth."""

    kind: Literal["plain"] = "plain"

    def build(self, layout: Layout) -> Features:
        """Return the module that changes nothing; argument as that of `BaseNumbers.build`."""
        from trunkline.nets.numbers._features import Features

        return Features(layout)
