"""Keys that occur more than once, and between which drops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trunkline.data.validate.checks import Check
from trunkline.data.validate.findings import MOST_EXAMPLES, Finding, example, records

if TYPE_CHECKING:
    import pandas as pd


def repeats(frame: pd.DataFrame, key: list[str], check: Check) -> list[Finding]:
    """Return a finding for each pair of drops, or single drop, in which a key occurs again.

    Args:
        frame: The key's columns and `drop`, all rows.
        key: Columns that identify a row.
        check: The check that failed.
    """
    again = frame.duplicated(key)
    first = frame.loc[~again, [*key, "drop"]]
    pairs = frame.loc[again, [*key, "drop"]].merge(first, on=key, suffixes=("", " before"))
    sizes = frame["drop"].value_counts()
    return [
        Finding(
            where=where,
            columns=check.columns,
            expected=check.expected,
            seen="the key of another row of this drop" if where == before else f"the key of a row of {before}",
            broken=len(rows),
            rows=int(sizes[where]),
            setting=check.setting,
            examples=tuple(example(row, key, []) for row in records(rows, np.arange(len(rows))[:MOST_EXAMPLES], key)),
        )
        for (where, before), rows in pairs.groupby(["drop", "drop before"], sort=True)
    ]
