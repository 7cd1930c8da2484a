"""What every column kind has in common."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from trunkline.declared import Declared

ColumnState = dict[str, Any]
"""What a kind learned from the training rows: plain JSON, with the kind's name under "kind"."""

Kind = Literal["numeric", "categorical", "timestamp"]

OnFailure = Literal["stop", "quarantine"]


class BaseColumn(Declared):
    """Settings that every input column has."""

    max_missing: float = Field(
        1.0, ge=0, le=1, description="Largest share of missing values that a drop may have, 0 to 1."
    )
    on_failure: OnFailure | None = Field(
        None,
        description="What a row outside this column's rules does: stop the run, or be set aside in quarantine. "
        "Default: validation.on_failure.",
    )
