"""How numbers enter the network: as they are, or each as several numbers that make its fine differences visible.

A kind is one file with its torch module in a private sibling; it is named once, in `Numbers` below. Flags of missing
values are no numbers: they stay as they are.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.nets.numbers.base import BaseNumbers
from trunkline.nets.numbers.periodic import PeriodicNumbers
from trunkline.nets.numbers.piecewise import PiecewiseNumbers
from trunkline.nets.numbers.plain import PlainNumbers

Numbers = Annotated[PlainNumbers | PiecewiseNumbers | PeriodicNumbers, Field(discriminator="kind")]

__all__ = ["BaseNumbers", "Numbers", "PlainNumbers"]
