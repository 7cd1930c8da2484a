"""How the tasks' losses become one step."""

from __future__ import annotations

from trunkline.balance.equal import EqualWeights

Balance = EqualWeights

__all__ = ["Balance", "EqualWeights"]
