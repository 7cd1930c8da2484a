"""reports/report.html: what sharing did to each task, on one page that needs no script and no other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.evaluation import prediction_charts, slices, wording
from trunkline.evaluation.charts import line_chart
from trunkline.evaluation.curves import Point, mean_curve, read_curve
from trunkline.evaluation.headline import average, headline
from trunkline.evaluation.report_analysis import (
    FEW_TASKS,
    affinity_view,
    coverage_rows,
    fairness_view,
    label_words,
    prediction_views,
    prediction_words,
    regret_said,
    slice_tables,
    with_code,
)
from trunkline.evaluation.report_drift import drift_view
from trunkline.evaluation.report_tasks import advice_rows, gate_rows, task_bars, task_rows, whole
from trunkline.evaluation.report_training import training_view
from trunkline.tasks.roles import auxiliary_words

SIDES = ("train", "validation", "test")
FILTERS = ("score", "signed", "small", "percent", "share", "base_rate", "count", "known", "p_value")
SHOWN_RULES = 20  # rules that rows broke, before the reader is sent to validation.html
CONTENTS = {
    "tasks": "Tasks", "whole": "Together", "gates": "Gates", "advice": "Advice", "metrics": "Metrics",
    "affinity": "Affinity", "curves": "Curves", "training": "Training", "predictions": "Predictions",
    "coverage": "Intervals and sets", "slices": "Slices", "fairness": "Fairness",
    "labels": "Labels", "drift": "Drift", "data": "Data", "again": "Reproduce", "meaning": "Meaning",
}  # fmt: skip
OPTIONAL = ("whole", "advice", "affinity", "training", "predictions", "coverage", "slices", "fairness", "drift")


def render_report(
    evaluation: Mapping[str, Any],
    analysis: Mapping[str, Any],
    history: Mapping[str, str],
    validation: Mapping[str, Any],
    versions: Mapping[str, str],
    drift: Mapping[str, Any] | None = None,
    windows: Mapping[str, str | None] | None = None,
) -> str:
    """Return the page; the same input gives the same bytes, and what is not there is not shown.

    Args:
        evaluation: Content of reports/evaluation.json.
        analysis: Content of reports/analysis.json, or any part of it.
        history: Text of history.tsv of the shared arm, under "shared", and of each task's own arm, under its name.
        validation: Content of reports/validation.json; empty where nothing was validated.
        versions: What the page was made from, each with its sha256 or version.
        drift: Content of reports/drift.json.
        windows: Where the sides begin, where the newest row decides that.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {name: getattr(wording, name) for name in FILTERS}
    environment.filters["interval"] = lambda ends, shown: wording.interval(ends, getattr(wording, shown))
    environment.filters["with_code"] = with_code
    found = _verdict(evaluation) | _analysis(evaluation["tasks"], analysis, history)
    found |= {"validation": _validation(validation), "versions": versions, "drift": drift_view(drift)}
    found["windows"] = windows
    hidden = {part for part in OPTIONAL if not found[part]}
    contents = {part: name for part, name in CONTENTS.items() if part not in hidden}
    return environment.get_template("report.html").render(found, contents=contents)


def _verdict(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    tasks, composite = evaluation["tasks"], evaluation["composite"]
    used = {metric for task in tasks.values() for metric in task["shared"]}
    words = wording.metric_words([task["kind"] for task in tasks.values()])
    gates = gate_rows(evaluation["gates"])
    return {
        "headline": headline(tasks, len(evaluation.get("auxiliary", {}))),
        "auxiliary": auxiliary_words(evaluation.get("auxiliary", {})),
        "average": average(tasks, composite) if len(tasks) > 1 else "",
        "tasks": task_rows(tasks),
        **task_bars(tasks),
        "whole": whole(composite, tasks) if len(tasks) > 1 else None,
        "gates": gates,
        "failed": [gate["broken"] for gate in gates if not gate["passed"]],
        "deployable": evaluation["deployable"],
        "advice": advice_rows(evaluation.get("advice") or [], tasks),
        "test_reads": evaluation.get("test_reads"),
        "glossary": {metric: said for metric, said in words.items() if metric in used},
    }


def _analysis(tasks: Mapping[str, Any], analysis: Mapping[str, Any], history: Mapping[str, str]) -> dict[str, Any]:
    progress = {"shared": read_curve(history["shared"], "composite")}
    of_tasks = analysis.get("tasks") or {}
    return {
        "affinity": affinity_view(analysis.get("affinity")),
        "curves": [_curve(name, history, of_tasks.get(name) or {}) for name in tasks],
        "training": training_view(analysis.get("training"), history["shared"]),
        "composite": line_chart(progress) if progress["shared"] else None,
        "composite_said": _said(progress),
        "predictions": prediction_views(tasks, of_tasks),
        "prediction_words": prediction_words(tasks),
        "coverage": coverage_rows(tasks, of_tasks),
        "slices": slice_tables(tasks, of_tasks),
        "fewest_rows": slices.FEWEST_ROWS,
        "fewest_in_point": prediction_charts.FEWEST_ROWS,
        "fairness": fairness_view(analysis.get("fairness"), few=len(tasks) <= FEW_TASKS),
        "labels": label_words(of_tasks),
        "rebalanced": {name: said for name, held in of_tasks.items() if (said := held.get("rebalanced"))},
        "sides": SIDES,
    }


def _curve(name: str, history: Mapping[str, str], analysis: Mapping[str, Any]) -> dict[str, Any]:
    column = f"validation.{name}"
    curves = {"shared": read_curve(history["shared"], column), "alone": read_curve(history[name], column)}
    counted = f"labels.{name}"  # there where a rule of `sampling` other than the shuffle draws rows
    shown = {"shared": read_curve(history["shared"], counted), "alone": read_curve(history[name], counted)}
    return {
        "name": name,
        "chart": line_chart(curves) if any(curves.values()) else None,
        "said": _said(curves),
        "regret": regret_said(analysis.get("checkpoint_regret")),
        "labels": line_chart(shown) if any(shown.values()) else None,
        "labels_said": _said(shown),
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
