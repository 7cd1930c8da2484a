"""Words: each training word has a code; missing and never-seen words have codes of their own.

in      string [rows, 1], "" = missing
out     int64 code: 0 unseen, 1 missing, 2.. the vocabulary in alphabetical order
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkline.columns.base import BaseColumn, ColumnState

UNSEEN, MISSING, FIRST_WORD = 0, 1, 2


class CategoricalColumn(BaseColumn):
    """A word out of a vocabulary that is learned from the training rows. Null and "" count as missing."""

    kind: Literal["categorical"]
    values: list[str] | None = Field(
        None, description="The only words a row may hold. Default: any word; new ones count as unseen."
    )
    min_count: int = Field(
        1, ge=1, description="Training rows a word needs to get a code of its own; rarer words count as unseen."
    )

    raw_type: ClassVar[str] = "string"

    def fit(self, values: np.ndarray[Any, Any]) -> ColumnState:
        """Learn the vocabulary.

        Args:
            values: str objects [rows], training rows only; "" = missing.
        """
        words, counts = np.unique(values.astype(str), return_counts=True)
        kept = [str(w) for w, n in zip(words, counts, strict=True) if w != "" and n >= self.min_count]
        return {"kind": "categorical", "vocabulary": kept}

    @staticmethod
    def boundary(state: ColumnState) -> list[str]:
        """Return raw words at every edge of the encoding, for the parity check."""
        vocabulary = state["vocabulary"]
        return [*vocabulary[:50], *vocabulary[-1:], "", " ", "never seen", "None", "nan", "ß漢字", "x" * 10_000]
