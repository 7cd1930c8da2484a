"""Every labelled row counts the same; only the priors are measured."""

from __future__ import annotations

from typing import ClassVar, Literal

from trunkline.data.rebalance.base import BaseRule


class EqualDraws(BaseRule):
    """Every labelled row counts the same; only the priors are measured."""

    kind: Literal["equal"] = "equal"
    suits: ClassVar[tuple[str, ...]] = ()
