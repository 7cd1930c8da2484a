"""The year as a table in Markdown, and as a page with a chart per task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.replay.bars import Bar
from benchmarks.replay.year import Month, Story, Task

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;--shared:#2563eb;--alone:#b45309}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .6rem;text-align:right}"
    "figure{display:inline-block;margin:.5rem}"
)


def table_of_months(months: Sequence[Month]) -> list[list[str]]:
    """Return a row per month: what was decided, and each task's labels and scores, champion > candidate."""
    names = [f"{name} ({task.metric})" for name, task in months[0].tasks.items()]
    labels = [f"{name} labels" for name in months[0].tasks]
    head = ["test rows since", "training rows", "drifted", "version", "in service", *names, *labels]
    return [
        head,
        *(
            [*_facts(month), *map(_scores, month.tasks.values()), *map(_level, month.tasks.values())]
            for month in months
        ),
    ]


def _facts(month: Month) -> list[str]:
    version = f"{month.version}{'' if month.version == month.champion else ' kept out'}"
    return [month.windows["test"][:10], f"{month.training:,}", str(len(month.drifted)), version, str(month.champion)]


def _scores(task: Task) -> str:
    return " > ".join("-" if score is None else f"{score:.3f}" for score in (task.champion, task.candidate))


def _level(task: Task) -> str:
    return "-" if task.level is None else f"{task.level:.3g}"


def table_of_bars(bars: Iterable[Bar]) -> list[list[str]]:
    """Return a row per bar."""
    return [
        ["bar", "held", "of", ""],
        *([bar.what, f"{bar.held:,}", f"{bar.of:,}", "met" if bar.met else "MISSED"] for bar in bars),
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table, the first as its head."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


def page(story: Story, bars: Sequence[Bar]) -> str:
    """Return the year as HTML: tables, and per task the labels and both models' scores by month."""
    from markupsafe import escape

    parts = ["<!doctype html><meta charset=utf-8><title>A year, replayed</title>", f"<style>{STYLE}</style>"]
    parts += [
        "<h1>A year, replayed</h1>",
        _html(table_of_bars(bars)),
        "<h2>Months</h2>",
        _html(table_of_months(story.months)),
    ]
    for name in story.months[0].tasks:
        parts.append(f"<h2>{escape(name)}</h2>{_charts([month.tasks[name] for month in story.months])}")
    return "\n".join(parts) + "\n"


def _charts(tasks: Sequence[Task]) -> str:
    from trunkline.evaluation.charts import line_chart
    from trunkline.evaluation.curves import Point

    numbered = list(enumerate(tasks, start=1))
    scores: dict[str, list[Any]] = {
        "shared": [Point(0, at, task.candidate) for at, task in numbered if task.candidate is not None],
        "alone": [Point(0, at, task.champion) for at, task in numbered if task.champion is not None],
    }
    levels = {"shared": [Point(0, at, task.level) for at, task in numbered if task.level is not None]}
    said = {f"{tasks[0].metric}: new model solid, the one in service before dashed": scores, "labels": levels}
    drawn = [f"<figure>{line_chart(curves)}<figcaption>{what}</figcaption></figure>" for what, curves in said.items()]
    return "".join(drawn)


def _html(rows: Sequence[Sequence[str]]) -> str:
    from markupsafe import escape

    lines = ["".join(f"<td>{escape(cell)}" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}' for line in lines)}</table>"
