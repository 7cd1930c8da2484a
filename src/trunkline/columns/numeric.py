"""Numbers: missing becomes zero plus a flag, the rest is clipped to the training range and put on one scale.

in      float64 [rows, 1], NaN or infinite = missing
out     float32 features: one per column, and one missing flag per column that lacked values in training
scales  standard: (x - mean) / sd.  quantile: the training distribution mapped to a normal one, piecewise linear
        between up to 129 quantiles (scikit-learn's QuantileTransformer(output_distribution="normal"), as a table).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from trunkline.columns.base import BaseColumn, ColumnState

QUANTILES = 129
LARGEST_QUANTILE = 1e300  # beyond it differences do not fit a float64, and the scale stays standard
NORMAL_LIMIT = 3.0  # the outermost quantiles of a normal scale; beyond the training range nothing is known


class NumericColumn(BaseColumn):
    """A number. Null, NaN and infinities count as missing."""

    kind: Literal["numeric"]
    min: float | None = Field(None, description="Smallest value a row may hold, in the column's own unit.")
    max: float | None = Field(None, description="Largest value a row may hold, in the column's own unit.")
    scale: Literal["standard", "quantile"] = Field(
        "standard",
        description="standard: (x - mean) / sd of the training rows; quantile: mapped to a normal distribution.",
    )

    raw_type: ClassVar[str] = "float64"

    @model_validator(mode="after")
    def _ordered(self) -> NumericColumn:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self

    def fit(self, values: np.ndarray[Any, Any]) -> ColumnState:
        """Learn range, scale and whether a missing flag is needed.

        Args:
            values: float64 [rows], training rows only; NaN or infinite = missing.

        Returns:
            The column's state. A column without any finite value gets the constant 0.
        """
        finite = values[np.isfinite(values)]
        state: ColumnState = {"kind": "numeric", "scale": self.scale, "flag": bool(len(finite) < len(values))}
        if not len(finite):
            return state | {"low": 0.0, "high": 0.0, "center": 0.0, "spread": 1.0, "scale": "standard", "flag": True}
        low, high = float(finite.min()), float(finite.max())
        center, spread = _center_and_spread(finite)
        state |= {"low": low, "high": high, "center": center, "spread": spread}
        if self.scale == "quantile":
            state |= _normal_table(finite)
        return state

    @staticmethod
    def boundary(state: ColumnState) -> list[float]:
        """Return raw values at and beyond every edge of the encoding, for the parity check."""
        low, high = state["low"], state["high"]
        edges = [low, high, (low + high) / 2, np.nextafter(low, -np.inf), np.nextafter(high, np.inf)]
        return [*edges, *state.get("knots", [])[::16], 0.0, -0.0, 1e300, -1e300, 5e-324, np.inf, -np.inf, np.nan]


def _center_and_spread(finite: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Mean and standard deviation; 1.0 for a constant column, whose deviation is only rounding."""
    size = float(np.abs(finite).max()) or 1.0
    scaled = finite / size  # squares of numbers near 1e308 do not fit a float64
    spread = float(scaled.std())
    return float(scaled.mean()) * size, spread * size if spread > 1e-9 else 1.0


def _normal_table(finite: np.ndarray[Any, Any]) -> ColumnState:
    from scipy.special import ndtri

    if max(-finite.min(), finite.max()) > LARGEST_QUANTILE:
        return {"scale": "standard"}
    levels = np.linspace(0, 1, QUANTILES)
    knots, first = np.unique(np.quantile(finite, levels), return_index=True)
    if len(knots) < 2:
        return {"scale": "standard"}
    # Tied quantiles stand for one value: it gets the middle of the levels it covers.
    last = np.append(first[1:], QUANTILES) - 1
    middle = (levels[first] + levels[last]) / 2
    normal = np.clip(ndtri(middle), -NORMAL_LIMIT, NORMAL_LIMIT)
    return {"knots": knots.tolist(), "normal": normal.tolist()}
