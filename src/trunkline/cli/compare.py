"""`trunkline compare`"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100  # characters of a line
MOST_SETTINGS = 20  # changed settings that are shown
MOST_WORDS = 40  # characters of a setting's value that are shown


class Column(NamedTuple):
    """The head of a column, and whether it holds words; numbers stand to the right."""

    head: str
    words: bool = False


SCORES = (
    Column("task", True), Column("metric", True), Column("shared A"), Column("shared B"), Column("B - A"),
    Column("intervals", True), Column("exported A"), Column("exported B"),
)  # fmt: skip
VERDICTS = (
    Column("task", True), Column("gain A"), Column("gain B"), Column("B - A"), Column("by seed, 95 %", True),
    Column("verdict A", True), Column("verdict B", True),
)  # fmt: skip
OVERLAP = {True: "overlap", False: "apart", None: "-"}


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A git revision, or the folder of a project.")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="Another. Default: this project's files as they are.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Hold two finished runs against each other: scores, verdicts, and what else changed. Checks nothing out."""
    from trunkline.cli.left_behind import read_run
    from trunkline.evaluation.compare import compare as compare_runs

    found = compare_runs(read_run(a), read_run(b))
    if as_json:
        print(json.dumps(found, default=str))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False, emoji=False)
    console.print(f"A  {found['a']}\nB  {found['b']}\n")
    tasks = found["tasks"]
    if tasks:
        console.print(_table(SCORES, [_scores(name, task) for name, task in tasks.items()]))
        console.print()
        console.print(_table(VERDICTS, [_verdicts(name, task) for name, task in tasks.items()]))
        console.print()
    for line in _lines(found):
        console.print(_typed(line))


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column.head, justify="left" if column.words else "right", no_wrap=place > 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_typed(cell)) for cell in row))
    return table


def _typed(text: str) -> str:
    """Return text with the minus sign and the space that every terminal and every file encoding has."""
    return text.replace("−", "-").replace("\u00a0", " ")


def _scores(name: str, task: dict[str, Any]) -> list[str]:
    from trunkline.evaluation.wording import score, signed

    shared, exported = ([score(value) for value in task[side]] for side in ("shared", "exported"))
    return [name, task["metric"], *shared, signed(task["difference"]), OVERLAP[task["overlap"]], *exported]


def _verdicts(name: str, task: dict[str, Any]) -> list[str]:
    from trunkline.evaluation.wording import known, signed

    before, after = task["gain"]
    change = after - before if known(before) and known(after) else None
    paired = task["gain_change"]
    within = " to ".join(signed(end) for end in paired["interval"]) if paired else "-"
    return [name, signed(before), signed(after), signed(change), within, *task["verdict"]]


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what stands below the tables: what the columns mean, then everything else that differs."""
    yield from _reading(found["tasks"].values())
    for side in ("a", "b"):
        if names := found[f"only_in_{side}"]:
            yield f"only in {side.upper()}: {', '.join(names)}"
    yield from _composite(found)
    yield from _settings(found["changed"]["params"])
    for kind in ("data", "code"):
        if paths := found["changed"][kind]:
            yield f"{kind} differs: {', '.join(paths)}"
    if not any(found["changed"].values()):
        yield "no difference in settings, data or code is known"
    for remark in found["remarks"]:
        yield f"note: {remark}"


def _reading(tasks: Any) -> Iterator[str]:
    yield "+ = B is better. gain = shared minus alone."
    if any(task["overlap"] is not None for task in tasks):
        yield "intervals: of the shared scores. That they overlap does not show that nothing changed: no paired test."
    if any(task["gain_change"] for task in tasks):
        yield "by seed: change of the gain, with the seeds that both runs have in common as pairs, on these test rows."


def _composite(found: dict[str, Any]) -> Iterator[str]:
    from trunkline.evaluation.wording import percent

    before, after = (percent(value) for value in found["delta_m_percent"])
    yield f"mean gain over tasks: {before} -> {after}"
    was, now = found["deployable"]
    if was != now:
        yield f"deployable: {_yes(was)} -> {_yes(now)}"


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _settings(changed: dict[str, list[Any]]) -> Iterator[str]:
    for key, (before, after) in list(changed.items())[:MOST_SETTINGS]:
        yield f"params.yaml: {key}: {_said(before)} -> {_said(after)}"
    if len(changed) > MOST_SETTINGS:
        yield f"params.yaml: and {len(changed) - MOST_SETTINGS} more, which --json shows"


def _said(value: Any) -> str:
    text = "(not set)" if value is None else json.dumps(value, default=str)
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 3]}..."
