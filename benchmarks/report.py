"""The table on the screen, and the same in docs/benchmarks.md."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from itertools import groupby

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Goal, Judged

COLUMNS = ("what", "by CPU time", "by the clock", "goal", "verdict")
STYLES = {"missed": "bold red", "not measured": "yellow"}

PAGE = """# Benchmarks

Written by `make bench`, which fails where a goal is missed. {date}, in {minutes} minutes,
on {about}.

{facts}

{tables}

## How to read it

**By CPU time** is what the goals are about: the machine may be shared, and CPU seconds on one thread are what the
clock shows when it is idle. **By the clock** stands beside. An "x" says how many times faster: what is compared runs
in turns within one process, and the figure is the median of the ratios of each turn.

- **Training.** Ours is `trunkline.training.fit.fit` as the train stage calls it: schedule, clipping, unseen values,
  masked losses, deterministic algorithms, the validation rows and the checkpoint of each epoch included. The bare
  loop trains the same network with the same optimiser and the losses summed task by task; it permutes tensors once
  per epoch and takes slices, and does nothing else. At least 0.9 of it means that all the rest costs a tenth at most.
  The DataLoader is torch's, over a `TensorDataset`, with its defaults. The goals against it are what better feeding
  can give: a step of this network costs more than collating its rows, so that a loop that fed for nothing would
  be 1.5 to 2 times as fast at batch 1,024 and 2 to 3 times at 8,192. The 2.5 times and more that were measured over
  the trainers of other multi-task libraries go beyond feeding; `make bench-peers` measures one of them.
- **Seeds together** is what `trunkline stage` costs for the shared arm and one alone arm with all seeds, over the same
  with one seed per process, start-up and reading of the rows included on both sides.
- **Growth of memory** compares what a training in a process of its own holds after epoch 2 and after the last, when
  the allocator has given back what it keeps free.
- **The exported file** takes raw rows: words, numbers, missing cells. Torch is given codes for the words and does the
  rest (`Model` in `export/graph.py`, eager, in inference mode), so it has less to do. The alone models are one ONNX
  file each, made by the same exporter; all score the same raw rows. K files cost K times one, so the goal of 0.8 K
  lets the shared model cost a quarter more than an alone one.
- **`trunkline predict`** runs as a command, on the split rows repeated; its start is part of the time.
- **Commands with nothing to do** run in this checkout, if its pipeline is up to date. The least of five times counts,
  because what other processes disturb only adds.
"""


def show(judged: Iterable[Judged], console: Console) -> None:
    """Print the table."""
    table = Table(*COLUMNS)
    for section, rows in groupby(judged, _section):
        table.add_row(f"[bold]{section}[/bold]")
        for each in rows:
            table.add_row(*cells(each), style=STYLES.get(each.verdict))
        table.add_section()
    console.print(table)


def page(judged: Iterable[Judged], about: str, facts: dict[str, str], seconds: float) -> str:
    """Return docs/benchmarks.md."""
    tables = []
    for section, rows in groupby(judged, _section):
        lines = [f"| {' | '.join(cells(each))} |" for each in rows]
        tables.append("\n".join([f"## {section}", "", f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|", *lines]))
    return PAGE.format(
        date=datetime.date.today().isoformat(),
        minutes=f"{seconds / 60:.1f}",
        facts="\n".join(f"- {name}: {value}" for name, value in facts.items()),
        about=about,
        tables="\n\n".join(tables),
    )


def _section(judged: Judged) -> str:
    return judged.row.section


def cells(judged: Judged) -> tuple[str, str, str, str, str]:
    """Return a row's words, in the order of COLUMNS."""
    row, figure = judged.row, judged.figure
    if figure.value is None:
        return row.what, "", "", _goal(row.goal, row.unit), f"not measured: {figure.why}"
    wall = "" if figure.wall is None else _with_unit(figure.wall, row.unit)
    return row.what, _with_unit(figure.value, row.unit), wall, _goal(row.goal, row.unit), judged.verdict


def _goal(goal: Goal | None, unit: str) -> str:
    return "" if goal is None else f"{'>=' if goal.at_least else '<='} {_with_unit(goal.bound, unit)}"


def _with_unit(value: float, unit: str) -> str:
    """Return three digits with the unit.

    Example:
        >>> _with_unit(152345.0, "rows/s"), _with_unit(0.07312, "ms"), _with_unit(4.0, "x")
        ('152,000 rows/s', '0.0731 ms', '4 x')
    """
    return f"{float(f'{value:.3g}'):,.10g} {unit}"
