"""Columns that a file does not have, and what it may have in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.data.validate import words
from trunkline.data.validate.findings import Finding
from trunkline.data.validate.outcome import Wanted
from trunkline.declared import did_you_mean


def lacking_columns(drops: Sequence[Mapping[str, Any]], wanted: Wanted) -> list[Finding]:
    """Return a finding for each column that a file lacks and may not lack.

    Args:
        drops: Of each drop its name, its rows, the columns it lacks (`missing`) and those nothing needs (`extra`).
        wanted: Where params.yaml asks for a column.
    """
    return [
        Finding(
            where=drop["name"],
            columns=(name,),
            expected="the column",
            seen=_instead(name, drop["extra"]),
            broken=drop["rows"],
            rows=drop["rows"],
            setting=_asked_by(name, wanted),
        )
        for drop in drops
        for name in drop["missing"]
        if name not in wanted.validation.may_lack
    ]


def _asked_by(name: str, wanted: Wanted) -> str:
    if name in wanted.columns:
        return f"columns.{name}"
    labels = [(task, told.label_columns) for task, told in wanted.tasks.items()]
    tasks = [f"tasks.{task}.{columns[name].setting}" for task, columns in labels if name in columns]
    return tasks[0] if tasks else "data.key" if name in wanted.key else "data.keep, split"


def _instead(name: str, extra: Sequence[str]) -> str:
    near = [other for other in extra if name.lower() in other.lower() or other.lower() in name.lower()]
    near += [other for other in extra if did_you_mean(name, [other])]
    if near:
        return f"none; the file holds '{near[0]}', which nothing needs: renamed?"
    return f"none; nothing needs its {words.listed(extra)}" if extra else "none"
