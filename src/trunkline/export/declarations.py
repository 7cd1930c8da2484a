"""What params.yaml may say about the exported file."""

from __future__ import annotations

from pydantic import Field

from trunkline.declared import Declared


class Export(Declared):
    """The file that leaves the pipeline."""

    name: str = Field(
        "model", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Name of the model in its card and graph."
    )
    description: str = Field("", description="One sentence on what the model is for; shown in the model card.")
    license: str | None = Field(None, description="Licence of the model, for the card, such as apache-2.0.")
    parity_rows: int = Field(10_000, ge=100, description="Real rows on which the file must agree with torch.")
    golden_rows: int = Field(5, ge=1, le=100, description="Rows with their outputs kept in card.json as a self-check.")
