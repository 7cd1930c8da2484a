"""What the second half of the report shows, out of analysis.json: how tasks agree, and how each one predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from trunkline.evaluation import wording
from trunkline.evaluation.bars import gain_bars
from trunkline.evaluation.heatmap import heatmap
from trunkline.evaluation.prediction_charts import calibration_chart, histogram_chart, time_chart
from trunkline.tasks import KINDS

Json = Mapping[str, Any]

MOST_PAIRS = 30  # pairs of tasks in a table, before the reader is sent to analysis.json
MOST_CLASSES = 8  # of a task whose labels are counted
FEW_TASKS = 8  # up to which every chart is in sight

MAPS = {
    "cosine": (
        "Cosine of the gradients",
        "how far two tasks pull the shared layers the same way, on the same rows",
        0.5,
    ),
    "affinity": ("Affinity", "the same across half-batches, as a share of what a task agrees with itself", 1.0),
    "t": ("t of the cosine", "how far the mean cosine stands from 0 in standard errors", 10.0),
    "lookahead": ("Lookahead", "share of the column's loss that a step for the row's task takes away", 0.02),
}
"""Key in analysis.json: title, what it says, and where the colour is full."""


def affinity_view(affinity: Json | None) -> dict[str, Any] | None:
    """Return the maps, the table of every pair and the suggested groups; None where nothing was measured."""
    if not affinity:
        return None
    names = affinity["tasks"]
    return {
        **affinity,
        "maps": [
            (title, said, heatmap(affinity[key], names, -reach, reach, f"{title} of each pair of tasks"))
            for key, (title, said, reach) in MAPS.items()
            if affinity.get(key)
        ],
        "own": [
            {"task": name, "ceiling": affinity["ceiling"][place], "norm": affinity["norm"][place]}
            for place, name in enumerate(names)
        ],
        "pairs": _pairs(affinity)[:MOST_PAIRS],
        "more": max(0, len(names) * (len(names) - 1) // 2 - MOST_PAIRS),
    }


def _pairs(affinity: Json) -> list[dict[str, Any]]:
    names = affinity["tasks"]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    return [
        {
            "tasks": f"{names[j]}, {names[i]}",
            "cosine": affinity["cosine"][i][j],
            "t": affinity["t"][i][j],
            "affinity": affinity["affinity"][i][j],
            "conflict_rate": affinity["conflict_rate"][i][j],
        }
        for i, j in sorted(pairs, key=lambda pair: -abs(affinity["t"][pair[0]][pair[1]] or 0.0))
    ]


def slice_tables(tasks: Json, analysis: Json) -> list[dict[str, Any]]:
    """Return, per column that the tasks are sliced by, a table for each task."""
    columns = dict.fromkeys(column for held in analysis.values() for column in held.get("slices") or {})
    return [
        {
            "column": column,
            "tables": [
                _table(name, task, found, len(tasks) <= FEW_TASKS)
                for name, task in tasks.items()
                if (found := ((analysis.get(name) or {}).get("slices") or {}).get(column))
            ],
        }
        for column in columns
    ]


def _table(name: str, task: Json, found: list[Json], few: bool) -> dict[str, Any]:
    ends = {row["value"]: [row["gain"], *(row["interval"] or [])] for row in found if wording.known(row["gain"])}
    bars = gain_bars(ends)[1] if few else {}
    rows = [{**row, "tendency": wording.tendency(row["gain"]), "bar": bars.get(row["value"])} for row in found]
    return {
        "task": name,
        "metric": task["primary"],
        "higher": task["higher_is_better"],
        "rows": rows,
        "said": _lowest_said([row for row in rows if wording.known(row["gain"])]),
    }


def _lowest_said(rows: list[dict[str, Any]]) -> str:
    """Name the value at which sharing costs most; where there are intervals, only if its own is below 0."""
    if not rows:
        return "no value has enough rows"
    judged = any(row["interval"] for row in rows)
    below = [row for row in rows if row["interval"] and wording.known(row["interval"][1]) and row["interval"][1] < 0]
    if judged and not below:
        return f"{len(rows)} values, none with a gain surely below 0"
    worst = min(below or rows, key=lambda row: row["gain"])
    return f"{len(rows)} values, lowest gain {wording.signed(worst['gain'])} at {worst['value']}"


def regret_said(regret: Json | None) -> str:
    """Say what a task gives up because one epoch is kept for all; nothing where that is not known."""
    if not regret or not wording.known(regret["skill"]):
        return ""
    if regret["skill"] < 5e-5:
        return "the epoch kept is also this task's best"
    first, last = min(regret["best_epochs"]), max(regret["best_epochs"])
    best = f"{first} to {last}" if last > first else f"{first}"
    return f"best at epoch {best}, so that the one kept costs at most {wording.score(regret['skill'])} of skill"


def prediction_views(tasks: Json, analysis: Json) -> list[dict[str, Any]]:
    """Return calibration, calibration over time and histograms, each with a chart per task that has one."""
    few = len(tasks) <= FEW_TASKS
    drawn = {
        "Calibration": ("what was seen against what was predicted, points as large as their rows", few, _calibration),
        "Calibration over time": ("what was seen, dashed, beside what was predicted", few, _over_time),
        "Histogram": ("how the predictions are spread", False, _histogram),
    }
    views = [
        {
            "title": title,
            "said": said,
            "open": sight,
            "charts": [chart for name, task in tasks.items() if (chart := draw(name, task, analysis.get(name) or {}))],
        }
        for title, (said, sight, draw) in drawn.items()
    ]
    return [view for view in views if view["charts"]]


def _calibration(name: str, task: Json, held: Json) -> dict[str, Any] | None:
    points = held.get("calibration")
    if not points:
        return None
    error = task["exported"].get("calibration_error")
    ends = ((task.get("intervals") or {}).get("exported") or {}).get("calibration_error")
    within = f" ({wording.interval(ends)})" if wording.interval(ends) else ""
    said = f"calibration error {wording.score(error)}{within}" if "calibration_error" in task["exported"] else ""
    return {"task": name, "said": said, "chart": calibration_chart(points)}


def _over_time(name: str, task: Json, held: Json) -> dict[str, Any] | None:
    points = held.get("calibration_over_time")
    if not points:
        return None
    far = max(points, key=lambda point: abs(point["predicted"] - point["observed"]))
    said = (
        f"furthest apart from {far['start'][:10]}: predicted {wording.score(far['predicted'])}, "
        f"seen {wording.score(far['observed'])}"
    )
    return {"task": name, "said": said, "chart": time_chart(points)}


def _histogram(name: str, task: Json, held: Json) -> dict[str, Any] | None:
    found = held.get("histogram")
    if not found:
        return None
    counts = found["counts"]
    said, filled, outline = KINDS[task["kind"]].charted
    together = [sum(held) for held in zip(*counts.values(), strict=True)]
    chart = histogram_chart(
        found["edges"], counts[filled] if filled else together, counts[outline] if outline else None
    )
    return {"task": name, "said": said, "chart": chart}


def prediction_words(tasks: Json) -> str:
    """Return what the charts of predictions show of each kind of task.

    Example:
        >>> prediction_words({"late": {"kind": "binary"}, "delay": {"kind": "regression"}})
        'Of a yes or no the probability of yes, of a number its value.'
    """
    kinds = dict.fromkeys(KINDS[task["kind"]].promised for task in tasks.values())
    said = ", ".join(f"of {words}" for words in kinds)
    return f"{said[:1].upper()}{said[1:]}."


def coverage_rows(tasks: Json, analysis: Json) -> list[dict[str, Any]]:
    """Return how often the regions of each task held the label, then of each of its classes."""
    rows = []
    for name, task in tasks.items():
        held = (analysis.get(name) or {}).get("coverage")
        if held:
            of_classes = [
                {"task": name, "of": word, "asked": held["asked"], "size": "", **of_class}
                for word, of_class in (held.get("classes") or {}).items()
            ]
            rows += [{"task": name, "of": None, "size": _size(held, task), **held}, *of_classes]
    return rows


def _size(held: Json, task: Json) -> str:
    if "mean_width" in held:
        unit = f" {task['unit']}" if task.get("unit") else ""
        return f"{wording.score(held['mean_width'])}{unit} wide"
    return f"{wording.small(held['mean_size'])} classes, {wording.share(held['empty'])} empty"


def fairness_view(fairness: Json | None, few: bool) -> list[dict[str, Any]]:
    """Return, per sensitive column, what each task gives its groups."""
    return [
        {
            "column": column,
            "tasks": [
                {
                    "task": name,
                    "open": few and place == 0,
                    "threshold": held.get("threshold"),
                    "threshold_from": held.get("threshold_from"),
                    "groups": held["groups"],
                    "gaps": held["gaps"],
                    "said": _gap_said(held["gaps"]),
                }
                for place, (name, held) in enumerate(of_tasks.items())
            ],
        }
        for column, of_tasks in (fairness or {}).items()
    ]


def _gap_said(gaps: Json) -> str:
    name, gap = next(iter(gaps.items()))
    if not wording.known(gap["value"]):
        return "no two groups have enough rows"
    return f"{name.replace('_', ' ')} gap {wording.score(gap['value'])}, {gap['highest']} over {gap['lowest']}"


def label_words(analysis: Json) -> dict[str, str]:
    """Return in words how the labels of each task's test rows are spread."""
    return {name: _labels(held["labels"]) for name, held in analysis.items() if held.get("labels")}


def _labels(labels: Json) -> str:
    if "quantiles" in labels:
        return ", ".join(f"{word} {wording.score(value)}" for word, value in labels["quantiles"].items())
    commonest = sorted(labels["counts"].items(), key=lambda each: -each[1])
    shown = ", ".join(f"{word} {wording.count(rows)}" for word, rows in commonest[:MOST_CLASSES])
    return f"{shown} and {len(commonest) - MOST_CLASSES} more" if len(commonest) > MOST_CLASSES else shown


def with_code(said: str) -> Markup:
    """Return a sentence as HTML in which what stands between backticks is code."""
    parts = str(escape(said)).split("`")
    whole = len(parts) % 2
    return Markup("".join(f"<code>{part}</code>" if place % 2 and whole else part for place, part in enumerate(parts)))
