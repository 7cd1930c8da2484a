"""What params.yaml may say about alarms. Reading it imports no torch."""

from __future__ import annotations

from pydantic import Field

from trunkline.declared import Declared


class Alarms(Declared):
    """Bounds behind which a line says at once that a task is in trouble; null = that alarm is off."""

    norm_ratio: float | None = Field(
        30.0,
        gt=1,
        description="Times that another task's gradient at the shared layers is longer, both with and without the "
        "weights that the balance gives.",
    )
    weight: float | None = Field(
        0.01, gt=0, lt=1, description="Share of its declared say that balance leaves a task which is behind the others."
    )
    unlabelled: int | None = Field(100, ge=1, description="Batches in a row without a labelled row of a task.")
    cosine: float | None = Field(
        -0.1, ge=-1, le=0, description="Mean cosine with another task's gradient, where it is below 0 beyond chance."
    )
    skill: float | None = Field(
        0.0,
        lt=1,
        description="Skill on the validation rows, 1 - loss / loss of a constant prediction, which a task must pass "
        "after 30 % of the epochs and at the end.",
    )
    rise: float | None = Field(
        0.05,
        gt=0,
        description="Share by which a task's loss on the validation rows may stand above its lowest while it rises "
        "for the second epoch in a row.",
    )
    gate_load: float | None = Field(
        0.9, gt=0, lt=1, description="Mean share that one expert gets of a task's gate, where there is a choice."
    )
