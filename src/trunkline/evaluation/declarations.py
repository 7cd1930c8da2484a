"""What params.yaml may say about the verdict. Reading it imports neither torch nor scikit-learn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.declared import Declared


class Gates(Declared):
    """What one task must fulfil before the model may be deployed, each on the unfavourable end of its interval."""

    max_regret: float | None = Field(
        None, ge=0, description="Most that sharing may cost this task against alone, in the primary metric's unit."
    )
    min_value: float | None = Field(
        None, description="Worst primary score that the exported model may have (a ceiling where lower is better)."
    )
    max_calibration_error: float | None = Field(
        None, ge=0, le=1, description="Largest calibration error of the exported model; classification only."
    )
    max_selection_rate_gap: float | None = Field(
        None, ge=0, le=1, description="Largest difference in selection rate between groups of a sensitive column."
    )
    max_true_positive_rate_gap: float | None = Field(
        None, ge=0, le=1, description="Largest difference in true positive rate between such groups."
    )
    max_false_positive_rate_gap: float | None = Field(
        None, ge=0, le=1, description="Largest difference in false positive rate between such groups."
    )


class Evaluation(Declared):
    """How the verdict on sharing is reached, and what else the report shows."""

    draws: int = Field(
        2000, ge=200, le=100_000, description="Draws of the bootstrap over seeds and rows behind every interval."
    )
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {},
        description="Per task the difference in its primary metric below which it does not matter whether sharing "
        "helps. Default: 0.5 % of the way from a constant prediction's score to a perfect one.",
    )
    slices: list[str] = Field(
        [], description="Columns by whose values every task is scored separately: inputs, or columns in data.keep."
    )
    gates: dict[str, Gates] = Field({}, description="Per task what it must fulfil before the model may be deployed.")
