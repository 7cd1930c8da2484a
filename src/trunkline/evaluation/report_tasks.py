"""What the first half of the report shows, out of evaluation.json: tasks, metrics, composite, gates, advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.evaluation import wording
from trunkline.evaluation.advice import MOST_SEEDS
from trunkline.evaluation.bars import gain_bars
from trunkline.tasks import KINDS

Json = Mapping[str, Any]

SKILL = "skill"
OF_MARGIN, OF_SCORE = "margin", "score"  # what a bar measures a gain by
LEAST_MARGINS = 2.0  # margins on either side of 0 that the bars show at least


def task_rows(tasks: Json) -> list[dict[str, Any]]:
    """Return each task as the table and the metrics of the page show it."""
    return [_task(name, task) for name, task in tasks.items()]


def _task(name: str, task: Json) -> dict[str, Any]:
    transfer = task["transfer"]
    return {
        **task,
        "name": name,
        "tendency": wording.tendency(transfer["gain"]),
        "verdict": wording.VERDICTS[transfer["verdict"]],
        "undecided": undecided(transfer),
        "metrics": [_metric(metric, task) for metric in task["shared"]] + _skill(task),
    }


def undecided(transfer: Json) -> str:
    """Say in a few words what would decide an inconclusive verdict; nothing for the others."""
    if transfer["verdict"] != "inconclusive" or "needs" not in transfer:
        return ""
    if transfer["needs"] != "seeds":
        return "needs more labelled test rows"
    needed = transfer["seeds_needed"]
    if needed is None or needed > MOST_SEEDS:
        return f"more than {MOST_SEEDS} trainings per side would be needed"
    return f"about {needed} trainings per side would decide"


def _metric(metric: str, task: Json) -> dict[str, Any]:
    higher = KINDS[task["kind"]].metrics[metric].higher_is_better
    shared, alone, exported = (task[side][metric] for side in ("shared", "alone", "exported"))
    both = wording.known(shared) and wording.known(alone)
    gain = (shared - alone if higher else alone - shared) if both else None
    intervals = task.get("intervals") or {}
    return {
        "name": metric,
        "primary": metric == task["primary"],
        "higher": higher,
        "shared": shared,
        "alone": alone,
        "exported": exported,
        "gain": gain,
        "tendency": wording.tendency(gain),
        "intervals": {side: (intervals.get(side) or {}).get(metric) for side in ("shared", "alone", "exported")},
    }


def _skill(task: Json) -> list[dict[str, Any]]:
    held = task.get(SKILL)
    if not held:
        return []
    sides = dict.fromkeys(("shared", "alone", "exported"))
    of_metric = {"name": SKILL, "primary": False, "higher": True, **sides, "intervals": sides}
    return [{**of_metric, **held, "tendency": wording.tendency(held["gain"])}]


def task_bars(tasks: Json) -> dict[str, Any]:
    """Return the bars of the task table on one scale: in margins where every task has one, else in percent.

    Returns:
        `bars` by task, `scale` as text, and `unit`, `cut`, `intervals` for the sentence above them.
    """
    transfers = {name: task["transfer"] for name, task in tasks.items()}
    margins = {name: transfer.get("margin") for name, transfer in transfers.items()}
    unit = OF_MARGIN if all(wording.known(margin) and margin > 0 for margin in margins.values()) else OF_SCORE
    units = margins if unit == OF_MARGIN else {name: _percent(task) for name, task in tasks.items()}
    held = {name: ends for name, unit_of in units.items() if unit_of and (ends := _ends(transfers[name], unit_of))}
    zones = dict.fromkeys(held, 1.0) if unit == OF_MARGIN else None
    scale, bars = gain_bars(held, zones, LEAST_MARGINS if zones else 0.0)
    return {
        "bars": bars,
        "scale": f"{scale:g}",
        "unit": unit,
        "cut": any(bar.beyond for bar in bars.values()),
        "intervals": any(transfer["interval"] for transfer in transfers.values()),
    }


def _percent(task: Json) -> float | None:
    """Return one percent of the score alone, in the metric's unit; None where there is no such percentage."""
    alone = task["alone"][task["primary"]]
    return abs(alone) / 100 if wording.known(alone) and wording.known(task["transfer"]["gain_percent"]) else None


def _ends(transfer: Json, unit: float) -> list[float]:
    if not wording.known(transfer["gain"]):
        return []
    return [end / unit for end in [transfer["gain"], *(transfer["interval"] or [])]]


def whole(composite: Json, tasks: Json) -> dict[str, Any]:
    """Return what is said of all tasks together: the composite, the worst task, the utility, the verdicts' counts."""
    worst = composite.get("worst_task")
    return {
        **composite,
        "worst_metric": tasks[worst]["primary"] if worst else None,
        "verdicts": {wording.VERDICTS[word]: composite.get(word, 0) for word in wording.VERDICTS},
    }


def gate_rows(gates: list[Json]) -> list[dict[str, Any]]:
    """Return the gates, those that failed first."""
    rows = [{"bound": None, "column": None, **gate, "broken": wording.broken_gate(gate)} for gate in gates]
    return sorted(rows, key=lambda gate: bool(gate["passed"]))


def advice_rows(advice: list[Json], tasks: Json) -> list[dict[str, Any]]:
    """Return each piece of advice with its verdict's mark and its figures as text."""
    return [
        {
            "task": held.get("task"),
            "verdict": wording.VERDICTS.get(held.get("verdict") or ""),
            "says": held["says"],
            "because": [(_words(name), _figure(value)) for name, value in (held.get("because") or {}).items()],
        }
        for held in advice
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _figure(value: Any) -> str:
    """Return a figure as text: a number, a list of them, words, or figures by name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(name))} {_figure(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_figure(inner) for inner in value)
    if isinstance(value, int):
        return wording.count(value)
    return wording.score(value) if isinstance(value, float) or value is None else str(value)
