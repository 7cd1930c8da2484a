"""reports/report.html: what sharing did to each task, on one page that needs no script and no other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.evaluation import wording
from trunkline.evaluation.bars import gain_bars
from trunkline.evaluation.charts import line_chart
from trunkline.evaluation.curves import Point, mean_curve, read_curve
from trunkline.evaluation.headline import average, headline
from trunkline.tasks import KINDS

SIDES = ("train", "validation", "test")
FILTERS = ("score", "signed", "percent", "base_rate", "count", "known")
SHOWN_RULES = 20  # rules that rows broke, before the reader is sent to validation.html


def render_report(evaluation: Mapping[str, Any], history: Mapping[str, str], validation: Mapping[str, Any]) -> str:
    """Return the page; the same input gives the same bytes.

    Args:
        evaluation: Content of reports/evaluation.json.
        history: Text of history.tsv of the shared arm, under "shared", and of each task's own arm, under its name.
        validation: Content of reports/validation.json; empty where nothing was validated.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {name: getattr(wording, name) for name in FILTERS}
    template = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    return template.render(_content(evaluation, history, validation))


def _content(
    evaluation: Mapping[str, Any], history: Mapping[str, str], validation: Mapping[str, Any]
) -> dict[str, Any]:
    tasks, composite = evaluation["tasks"], evaluation["composite"]
    scale, bars = gain_bars({name: ends for name, task in tasks.items() if (ends := _gain_ends(task))})
    used = {metric for task in tasks.values() for metric in task["shared"]}
    progress = {"shared": read_curve(history["shared"], "composite")}
    return {
        "headline": headline(tasks),
        "average": average(tasks, composite) if len(tasks) > 1 else "",
        "tasks": [_task(name, task) | {"bar": bars.get(name)} for name, task in tasks.items()],
        "scale": f"{scale:g}",
        "cut": any(bar.beyond for bar in bars.values()),
        "intervals": any(task["transfer"]["interval"] for task in tasks.values()),
        "curves": [_curve(name, history) for name in tasks],
        "composite": line_chart(progress) if progress["shared"] else None,
        "composite_said": _said(progress),
        "sides": SIDES,
        "gates": evaluation["gates"],
        "deployable": evaluation["deployable"],
        "validation": _validation(validation),
        "glossary": {metric: said for metric, said in wording.METRICS.items() if metric in used},
    }


def _gain_ends(task: Mapping[str, Any]) -> list[float]:
    """Return gain and interval in percent of the score alone; nothing where there is no such percentage."""
    transfer, alone = task["transfer"], task["alone"][task["primary"]]
    if not wording.known(transfer["gain_percent"]):
        return []
    return [100 * end / abs(alone) for end in [transfer["gain"], *(transfer["interval"] or [])]]


def _task(name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    transfer = task["transfer"]
    return {
        **task,
        "name": name,
        "tendency": wording.tendency(transfer["gain"]),
        "verdict": wording.VERDICTS[transfer["verdict"]],
        "metrics": [_metric(metric, task) for metric in task["shared"]],
    }


def _metric(metric: str, task: Mapping[str, Any]) -> dict[str, Any]:
    higher = KINDS[task["kind"]].metrics[metric].higher_is_better
    shared, alone, exported = (task[side][metric] for side in ("shared", "alone", "exported"))
    both = wording.known(shared) and wording.known(alone)
    gain = (shared - alone if higher else alone - shared) if both else None
    return {
        "name": metric,
        "higher": higher,
        "shared": shared,
        "alone": alone,
        "exported": exported,
        "gain": gain,
        "tendency": wording.tendency(gain),
    }


def _curve(name: str, history: Mapping[str, str]) -> dict[str, Any]:
    column = f"validation.{name}"
    curves = {"shared": read_curve(history["shared"], column), "alone": read_curve(history[name], column)}
    return {
        "name": name,
        "chart": line_chart(curves) if any(curves.values()) else None,
        "said": _said(curves),
    }


def _said(curves: Mapping[str, list[Point]]) -> str:
    """Say where the curves of a chart end, for whoever cannot see it."""
    ends = {side: mean[-1] for side, points in curves.items() if (mean := mean_curve(points))}
    epochs = " and ".join(str(epoch) for epoch in dict.fromkeys(epoch for epoch, _ in ends.values()))
    values = ", ".join(f"{side} {wording.score(value)}" for side, (_, value) in ends.items())
    return f"{values} after epoch {epochs}" if ends else "no epoch was recorded"


def _validation(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page says of validation, or None where there is no record of it."""
    if "rows" not in content:
        return None
    rules = content.get("rules", [])
    broken = [rule for rule in rules if rule["status"] != "passed"]
    return {
        "passed": content["passed"],
        "rows": content["rows"],
        "drops": content.get("drops", []),
        "rules": len(rules),
        "broken": broken[:SHOWN_RULES],
        "more": len(broken[SHOWN_RULES:]),
        "quarantine": content.get("quarantine", []),
        "warnings": content.get("warnings", []),
    }
