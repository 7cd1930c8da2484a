"""What params.yaml may say about taking a new model into service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.declared import Declared


class Promotion(Declared):
    """When a new model takes over from the one in service. It must be deployable besides, see evaluation.gates."""

    max_regret: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {},
        description="Per task the most that the new model may lose against the one in service, in the primary metric's "
        "unit, on the unfavourable end of the interval. Default: the task's margin, see evaluation.margins.",
    )
    tasks: list[str] = Field([], description="Tasks that decide; the others are only shown. Default: every task.")
