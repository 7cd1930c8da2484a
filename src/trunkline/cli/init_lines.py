"""What `trunkline init` says it decided: tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from trunkline.cli.columns import aligned
from trunkline.guess.words import shown

if TYPE_CHECKING:
    from trunkline.guess.draft import Draft

COLUMNS = 80
MOST_INPUTS = 30  # that are shown


def decided(draft: Draft) -> Iterator[str]:
    """Yield what was decided and why."""
    yield from wrap(_read(draft), COLUMNS)
    yield ""
    tasks = [(aim.task, aim.kind, f"{aim.rows:,}", f"{aim.says} ({aim.why})") for aim in draft.aims.values()]
    yield from aligned([("task", "kind", "rows", "holds (why this kind)"), *tasks], columns=COLUMNS)
    yield ""
    inputs = [(shown(name), found.kind, found.says) for name, found in draft.inputs.items()]
    yield from aligned([("input", "kind", "holds"), *inputs[:MOST_INPUTS]], columns=COLUMNS)
    if len(inputs) > MOST_INPUTS:
        yield f"and {len(inputs) - MOST_INPUTS} more inputs: see params.yaml"
    if draft.left_out:
        yield ""
        out = [(shown(name), reason) for name, reason in draft.left_out.items()]
        yield from aligned([("left out", "because"), *out], columns=COLUMNS)
    yield ""
    yield from wrap(f"key    {', '.join(draft.key.columns)}: {draft.key.why}", COLUMNS, subsequent_indent=" " * 7)
    yield from wrap(f"split  {_split(draft)}", COLUMNS, subsequent_indent=" " * 7)
    for note in draft.notes:
        yield from wrap(f"note   {note}", COLUMNS, subsequent_indent=" " * 7, break_on_hyphens=False)


def next_steps(draft: Draft, kept: Path | None) -> Iterator[str]:
    """Yield what was written and how to go on."""
    files = len(draft.table.files)
    yield ""
    yield f"wrote  params.yaml, and {files} file{'s' if files > 1 else ''} into data/incoming/"
    if kept:
        yield f"kept   what was there, in {kept}/"
    if any(aim.kind in ("count", "regression") for aim in draft.aims.values()):
        yield "edit   params.yaml: the unit of each number, and inputs that are not known"
        yield "       when you predict"
    yield "next   trunkline check      params.yaml against the files, in seconds"
    yield "       trunkline run        the nine stages, and the verdict on every task"


def _read(draft: Draft) -> str:
    table = draft.table
    named = table.files[0].name if len(table.files) == 1 else f"{len(table.files)} files"
    if table.is_whole:
        return f"{named}: {table.rows:,} rows, {len(table.names)} columns, all looked at"
    total = f"{table.total:,}" if table.total else "more"
    return (
        f"{named}: {len(table.names)} columns; looked at the first {table.rows:,} rows of {total}, so rare words, "
        f"odd values and repeated keys further down are not seen"
    )


def _split(draft: Draft) -> str:
    split = draft.split
    if split["kind"] == "random":
        return "random by the key: 70 % train, 15 % choose and calibrate, 15 % judge"
    return f"by {split['column']}: rows from {split['validation']} choose and calibrate, from {split['test']} judge"
