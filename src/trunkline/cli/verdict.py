"""What a finished run says: the verdict on every task, all together, where to go on, and whether it may be deployed.

Plain text of at most 100 columns and without a sign beyond ASCII of our own, so that any terminal and any log shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError
from trunkline.files import read_json

EVALUATION = Path("reports/evaluation.json")
REPORT = Path("reports/report.html")
MODEL = Path("models/export/model.onnx")
TRAINED = Path("models/shared/run.json")
MOST_ALARMS = 5  # that are shown; the report has all
HEADER = ("task", "metric", "alone", "shared", "gain", "interval", "verdict")
NUMBERS = ("alone", "shared", "gain", "interval")  # set to the right
COLUMNS = 100
SHORTEST_NAME = 12  # letters that a task's name keeps at least
NOTHING = "-"


def read_evaluation(root: Path) -> dict[str, Any] | None:
    """Return what `evaluate` found, None where it has not run."""
    try:
        return dict(read_json(root / EVALUATION))
    except (ArtifactError, TypeError, ValueError):
        return None


def verdict_rows(evaluation: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row of text per task, under `HEADER`."""
    return [_row(name, task) for name, task in evaluation["tasks"].items()]


def _row(name: str, task: dict[str, Any]) -> tuple[str, ...]:
    metric, transfer = task["primary"], task.get("transfer") or {}
    scores = (_number(task[side].get(metric)) for side in ("alone", "shared"))
    gain, ends = _difference(transfer.get("gain")), _interval(transfer.get("interval"))
    return name, metric, *scores, gain, ends, transfer.get("verdict") or NOTHING


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _difference(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3g}"


def _interval(ends: Sequence[float | None] | None) -> str:
    return f"{_difference(ends[0])} to {_difference(ends[1])}" if ends else NOTHING


def verdict_lines(evaluation: dict[str, Any]) -> list[str]:
    """Return the verdict table as aligned text; a task's name is cut where the line would be too long."""
    rows = [HEADER, *verdict_rows(evaluation)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    rest = sum(widths[1:]) + 2 * (len(HEADER) - 1)
    widths[0] = min(widths[0], max(SHORTEST_NAME, COLUMNS - rest))
    lines = [[_cut(row[0], widths[0]), *row[1:]] for row in rows]
    return ["  ".join(_cell(place, text, widths[place]) for place, text in enumerate(line)).rstrip() for line in lines]


def _cut(name: str, width: int) -> str:
    """Return a name with its middle left out: names that begin alike differ at their end."""
    if len(name) <= width:
        return name
    end = (width - 2) // 2
    return f"{name[: width - 2 - end]}..{name[-end:]}"


def _cell(place: int, text: str, width: int) -> str:
    return text.rjust(width) if HEADER[place] in NUMBERS else text.ljust(width)


def composite_lines(evaluation: dict[str, Any]) -> list[str]:
    """Return what sharing did to all tasks together; nothing where there is only one."""
    from textwrap import wrap

    from trunkline.evaluation.wording import VERDICTS

    composite = evaluation.get("composite") or {}
    if len(evaluation["tasks"]) < 2 or not composite:
        return []
    counts = ", ".join(f"{composite.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    parts = [counts, _on_average(evaluation)]
    if worst := composite.get("worst_task"):
        parts.append(f"lowest {worst} {_difference(composite['worst_gain'])}{_within(composite.get('worst_interval'))}")
    return wrap(f"all tasks: {'; '.join(parts)}", COLUMNS, subsequent_indent="  ", break_on_hyphens=False)


def _on_average(evaluation: dict[str, Any]) -> str:
    composite = evaluation["composite"]
    mean = composite.get("delta_m_percent")
    if mean is not None:
        return f"on average {_difference(mean)} % of the score alone{_within(composite.get('interval'))}"
    without = [name for name, task in evaluation["tasks"].items() if not task["alone"].get(task["primary"])]
    of = f", as that of {' and '.join(without)} is 0 or unknown" if without else ""
    return f"no average in percent of the score alone{of}"


def _within(ends: Sequence[float | None] | None) -> str:
    return f" ({_interval(ends)})" if ends else ""


def ending_lines(root: Path) -> list[str]:
    """Return the last lines of a run: verdicts, three paths, and at last whether the model may be deployed."""
    evaluation = read_evaluation(root)
    lines = ["", *verdict_lines(evaluation), *composite_lines(evaluation)] if evaluation else []
    lines += alarm_lines(read_alarms(root))
    if (root / MODEL).is_file():
        lines += [
            "",
            f"report  {REPORT}",
            f"model   {MODEL}",
            f"next    trunkline predict {MODEL} IN OUT",
        ]
    return [*lines, deployable_line(evaluation)] if evaluation else lines


def read_alarms(root: Path) -> list[dict[str, Any]]:
    """Return the alarms that the shared model's training raised; none where it has not run."""
    try:
        return list(dict(read_json(root / TRAINED)).get("alarms", []))
    except (ArtifactError, TypeError, ValueError):
        return []


def alarm_lines(alarms: Sequence[dict[str, Any]]) -> list[str]:
    """Return the alarms as text; nothing where none was raised."""
    from textwrap import wrap

    from trunkline.training.monitoring.alarms import sentence

    if not alarms:
        return []
    lines = ["", f"{len(alarms)} alarm{'s' if len(alarms) > 1 else ''} while the shared model trained:"]
    for alarm in alarms[:MOST_ALARMS]:
        lines += wrap(f"- {sentence(alarm)}", COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    more = len(alarms) - MOST_ALARMS
    return [*lines, f"and {more} more: see {REPORT}"] if more > 0 else lines


def deployable_line(evaluation: dict[str, Any]) -> str:
    """Say in one line whether the model may be deployed, and if not, which gates failed: as many as the line holds."""
    from trunkline.evaluation.wording import broken_gate

    if evaluation.get("deployable"):
        return "Deployable: yes" if evaluation.get("gates") else "Deployable: yes (no gate is declared)"
    failed = [broken_gate(gate) for gate in evaluation.get("gates") or [] if not gate.get("passed")]
    for shown in range(len(failed), 1, -1):
        if len(line := _refusal(failed, shown)) <= COLUMNS:
            return line
    return _refusal(failed, 1)


def _refusal(failed: Sequence[str], shown: int) -> str:
    more = f" and {len(failed) - shown} more" if len(failed) > shown else ""
    return f"Not deployable: {', '.join(failed[:shown])}{more}"
