"""What a finished run says: the verdict on every task, the gates, and where to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError
from trunkline.files import read_json

EVALUATION = Path("reports/evaluation.json")
REPORT = Path("reports/report.html")
MODEL = Path("models/export/model.onnx")
HEADER = ("task", "metric", "alone", "shared", "gain", "verdict")


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
    return name, metric, *scores, _number(transfer.get("gain"), sign=True), transfer.get("verdict") or "-"


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def verdict_lines(evaluation: dict[str, Any]) -> list[str]:
    """Return the verdict table as aligned text."""
    rows = [HEADER, *verdict_rows(evaluation)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    return ["  ".join(_cell(place, row[place], widths[place]) for place in range(len(HEADER))).rstrip() for row in rows]


def _cell(place: int, text: str, width: int) -> str:
    return text.rjust(width) if HEADER[place] in ("alone", "shared", "gain") else text.ljust(width)


def ending_lines(root: Path) -> list[str]:
    """Return the last lines of a run: verdicts, three paths, and failed gates where there are any."""
    evaluation = read_evaluation(root)
    lines = ["", *verdict_lines(evaluation)] if evaluation else []
    if (root / MODEL).is_file():
        lines += [
            "",
            f"report  {REPORT}",
            f"model   {MODEL}",
            f"next    trunkline predict {MODEL} IN OUT",
        ]
    if evaluation and evaluation.get("deployable") is False:
        lines.append(_refusal(evaluation.get("gates") or []))
    return lines


def _refusal(gates: list[dict[str, Any]]) -> str:
    failed = [
        f"{gate.get('task')}: {gate.get('rule')} {_number(gate.get('value'))} (limit {_number(gate.get('limit'))})"
        for gate in gates
        if not gate.get("passed")
    ]
    return f"Not deployable: {'; '.join(failed) or 'no gate passed'}"
