"""An input column: what the user may declare of it, how it is fitted, and how it enters the net and the ONNX graph.

A kind is one file (declaration, fit, boundary values) with its torch module in a private sibling; it is named once,
in `Column` below. A kind owns its input rule, so nothing else may assume that a column is a number.

    raw value   what Parquet holds and a caller sends      numeric float64, categorical string, timestamp int64
    state       what was learned from the training rows    plain JSON, kept in encoder.json
    prepared    what the trunk reads                       features float32 [rows, width], codes int64 [rows, columns]
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trunkline.columns.base import ColumnState
from trunkline.columns.categorical import CategoricalColumn
from trunkline.columns.numeric import NumericColumn
from trunkline.columns.timestamp import TimestampColumn

Column = Annotated[NumericColumn | CategoricalColumn | TimestampColumn, Field(discriminator="kind")]

KINDS: dict[str, type[NumericColumn | CategoricalColumn | TimestampColumn]] = {
    "numeric": NumericColumn,
    "categorical": CategoricalColumn,
    "timestamp": TimestampColumn,
}

__all__ = ["KINDS", "CategoricalColumn", "Column", "ColumnState", "NumericColumn", "TimestampColumn"]
