"""The search for leaks in the whole table, one input at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.data.validate import words
from trunkline.data.validate.leaks import MOST_WORDS, Coded, Hint, look, looks_like_identifier
from trunkline.data.validate.outcome import Hunt, Wanted
from trunkline.data.validate.raw import RawRows, coded, target_of
from trunkline.data.validate.unlabelled import absences, strongest, warnings_of

if TYPE_CHECKING:
    import pyarrow as pa


def hunt_leaks(rows: RawRows, kept: np.ndarray[Any, Any], wanted: Wanted) -> Hunt:
    """Test every input alone against every target.

    Args:
        rows: The table.
        kept: True for each row to look at.
        wanted: Inputs, targets, and what counts as a leak.
    """

    def column(name: str) -> pa.ChunkedArray:
        return rows.columns([name])[name]

    found = Hunt([], [], [])
    targets = [target_of(name, told, column(name), kept) for name, told in wanted.targets.items()]
    worded = {name: coded(column(name), kept) for name, kind in wanted.columns.items() if kind.kind == "categorical"}
    groups = {name: held for name, held in worded.items() if len(held.values) <= MOST_WORDS}
    given = [name for task in wanted.tasks.values() if task.given for name in task.label_columns]
    absent, foretold = absences(targets, given), dict[str, Hint]()
    for name in wanted.columns:
        held = worded.get(name) or coded(column(name), kept)
        leaks, hint = look(name, held, targets, groups, wanted.validation.leaks)
        found.hints.extend([hint] if hint else [])
        if name in wanted.validation.leaks.allow:
            found.warnings.extend(f"{leak.said} (accepted by validation.leaks.allow)" for leak in leaks)
        else:
            found.leaks.extend(leaks)
        found.warnings.extend([_names_rows(name, held)] if looks_like_identifier(held) else [])
        foretold = strongest(name, held, absent, foretold)
    found.warnings.extend(warnings_of(foretold))
    return found


def _names_rows(name: str, held: Coded) -> str:
    return (
        f"input '{name}' has {len(held.values):,} different words in {words.count(len(held.codes))}: it names rows, "
        f"and nothing learned of one holds for another; remove it from columns"
    )
