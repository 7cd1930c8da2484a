"""Piecewise-linear numbers: each number as how far it has come through each of its bins, and a learned sum of these.

in      prepared features                               [rows, features]
out     numbers * width, then the flags                 [rows, numbers * width + flags]
source  Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv:2203.05556,
        section 3.2, equation 1, with bins from quantiles (3.2.1); as `PiecewiseLinearEmbeddings(version="B",
        activation=False)` of rtdl_num_embeddings: a linear embedding to which the pieces add, from zero at the start
Differs: beyond the first and last edge the pieces are flat, for the prepared features are cut to the training range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.columns.layout import Layout
from trunkline.nets.numbers.base import EmbeddedNumbers

if TYPE_CHECKING:
    from trunkline.nets.numbers._features import Features


class PiecewiseNumbers(EmbeddedNumbers):
    """Bins from the training quantiles, a line of its own in each. Suits numbers whose effect has steps and bends."""

    kind: Literal["piecewise"]
    bins: int = Field(24, ge=2, le=512, description="Bins per number, each with about as many training rows.")

    def embed(self, layout: Layout) -> Features:
        """Return bins and weights; argument as that of `BaseNumbers.build`."""
        from trunkline.nets.numbers._piecewise import Piecewise

        return Piecewise(layout, self.bins, self.width)
