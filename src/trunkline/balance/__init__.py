"""How the tasks' losses become one step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.balance.equal import EqualWeights
from trunkline.balance.uncertainty import Uncertainty

Balance = Annotated[EqualWeights | Uncertainty, Field(discriminator="kind")]

__all__ = ["Balance", "EqualWeights", "Uncertainty"]
