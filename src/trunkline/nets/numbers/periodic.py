"""Periodic numbers: each number as cosines and sines of learned frequencies, and a layer over these.

in      prepared features                               [rows, features]
out     numbers * width, then the flags                 [rows, numbers * width + flags]
source  PLR(lite) of Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning",
        arXiv:2203.05556, section 3.3, and 2023, arXiv:2307.14338; as `PeriodicEmbeddings(lite=True)` of
        rtdl_num_embeddings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trunkline.columns.layout import Layout
from trunkline.nets.numbers.base import EmbeddedNumbers

if TYPE_CHECKING:
    from trunkline.nets.numbers._features import Features


class PeriodicNumbers(EmbeddedNumbers):
    """Waves of learned frequencies. Suits numbers whose effect repeats; `sigma` must be tuned."""

    kind: Literal["periodic"]
    frequencies: int = Field(16, ge=1, le=512, description="Learned frequencies per number.")
    sigma: float = Field(
        0.1,
        gt=0,
        le=100,
        description="Spread of the frequencies at first, in waves per standard deviation of the number. The setting "
        "that matters: larger shows finer differences, and overfits sooner.",
    )

    def embed(self, layout: Layout) -> Features:
        """Return frequencies and layer; argument as that of `BaseNumbers.build`."""
        from trunkline.nets.numbers._periodic import Periodic

        return Periodic(layout, self.frequencies, self.sigma, self.width)
