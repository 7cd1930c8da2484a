"""What params.yaml may say about the model after its training: which drift is too much, and what it must keep up."""

from __future__ import annotations

from pydantic import Field

from trunkline.declared import Declared


class DriftWatch(Declared):
    """How far new rows may lie from the training rows before they count as drifted, and the least score in service.

    Nothing here stops a run: `validation.drift` refuses a drop, this one reports. A value must
    exceed its limit by more than as many rows drawn from one source show by chance.
    """

    drops: int = Field(1, ge=1, description="Newest drops that are looked at, taken together.")
    psi: float = Field(
        4.0,
        gt=0,
        description="Accepted population stability index of a number, a prediction or a label that is a number.",
    )
    jensen_shannon: float = Field(
        0.6, gt=0, le=1, description="Accepted Jensen-Shannon distance (base 2: 0 = alike, 1 = nothing in common)."
    )
    l_infinity: float = Field(0.15, gt=0, le=1, description="Accepted change of the share of any one word or class.")
    missing: float = Field(0.2, gt=0, le=1, description="Accepted change of a column's share of missing values.")
    unseen: float = Field(0.05, gt=0, le=1, description="Accepted share of a column's words that no training row held.")
    allow: list[str] = Field(
        [], description="Inputs and tasks that you looked at: their drift is shown and does not count."
    )
    floors: dict[str, float] = Field(
        {},
        description="Per task, or <task>.<label> of a multilabel one, the worst primary score in service (a ceiling "
        "where lower is better). Surely below it, the next promotion fails.",
    )
