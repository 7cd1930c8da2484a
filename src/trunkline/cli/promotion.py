"""What was decided on a model, as text: every task under both models, then the reason in one sentence."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from trunkline.cli.columns import aligned
from trunkline.cli.verdict import COLUMNS, NOTHING

if TYPE_CHECKING:
    from trunkline.registry.compare import Compared, Comparison
    from trunkline.registry.promote import Decision


def decision_lines(decision: Decision) -> list[str]:
    """Return the table and the sentence, in lines of at most 100 columns."""
    table = ["", *_table(decision.comparison)] if decision.comparison and decision.comparison.tasks else []
    new = decision.comparison.new if decision.comparison else []
    added = [f"new: {', '.join(new)} (nothing in service predicts that)"] if new else []
    return [*table, *added, "", *wrap(str(decision), COLUMNS, subsequent_indent="  ", break_on_hyphens=False)]


def _table(comparison: Comparison) -> list[str]:
    head = (
        "task", "metric", f"version {comparison.champion}", f"version {comparison.candidate}", "gain", "interval",
        "may lose", "",
    )  # fmt: skip
    return aligned([head, *(_row(each) for each in comparison.tasks)], words=2)


def _row(each: Compared) -> tuple[str, ...]:
    ends = f"{each.interval[0]:+.3g} to {each.interval[1]:+.3g}" if each.interval else NOTHING
    scores = (_number(value, "{:.4g}") for value in (each.champion, each.candidate))
    limit = _number(each.limit, "{:.3g}")
    return (
        each.task,
        each.metric,
        *scores,
        _number(each.gain, "{:+.3g}"),
        ends,
        limit,
        _said(each),
    )


def _said(each: Compared) -> str:
    """Return what is known of a task; a loss that may be chance alone is not shown to be small enough either."""
    if each.passed or not each.decides:
        return "ok" if each.decides else "does not decide"
    if each.interval is None:
        return "cannot be told"
    return "worse" if each.interval[1] < 0 else "not shown"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)
