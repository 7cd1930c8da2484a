"""What a run leaves in Prefect's artifacts: verdicts, tasks, report, refused data, and how far it has come.

Artifacts are a view: that Prefect's server does not take one is said in the log and stops no run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from trunkline.cli.verdict import HEADER, REPORT, deployable_line, read_evaluation, verdict_rows
from trunkline.errors import ArtifactError, DataError, TrunklineError
from trunkline.files import read_json

VALIDATION = Path("reports/validation.json")
VALIDATION_PAGE = Path("reports/validation.html")
EPOCH = re.compile(r"\bepoch (\d+)/(\d+)")


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        get_run_logger().warning("Prefect took no artifact: %s", fault)


def show_results(root: Path, decision: str | None) -> None:
    """Put the verdicts, the tasks and the report into Prefect's artifacts.

    Args:
        root: The project's folder.
        decision: What became of the model in service, None where nobody asked.
    """
    with _shown():
        if evaluation := read_evaluation(root):
            create_markdown_artifact(_verdicts(evaluation, decision), key="verdicts")
            create_table_artifact([*_tasks(evaluation)], key="tasks")
        _link(root / REPORT, "report")


def show_decision(lines: list[str]) -> None:
    """Put what was decided on the new model into Prefect's artifacts."""
    with _shown():
        create_markdown_artifact("\n".join(["```", *lines, "```"]), key="promotion")


def _verdicts(evaluation: dict[str, Any], decision: str | None) -> str:
    table = [HEADER, tuple("---" for _ in HEADER), *verdict_rows(evaluation)]
    lines = [f"| {' | '.join(line)} |" for line in table]
    return "\n".join([*lines, "", deployable_line(evaluation), *(["", decision] if decision else [])])


def _tasks(evaluation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row per task with every metric of the exported model, and the gates it fails."""
    for name, task in evaluation["tasks"].items():
        gates = [gate for gate in evaluation.get("gates") or [] if gate.get("task") == name]
        labelled = task.get("labelled") or {}
        yield {
            "task": name,
            "kind": task.get("kind"),
            **{f"labelled {side}": count for side, count in labelled.items()},
            **(task.get("exported") or {}),
            "failed gates": ", ".join(gate["rule"] for gate in gates if not gate.get("passed")) or "none",
        }


def show_failure(root: Path, fault: TrunklineError) -> None:
    """Put the rules that refused the data into Prefect's artifacts."""
    if not isinstance(fault, DataError):
        return
    try:
        findings = read_json(root / VALIDATION)["findings"]
    except (ArtifactError, KeyError, TypeError):
        return
    wanted = ("where", "column", "expected", "seen", "count")
    with _shown():
        if findings:
            create_table_artifact([{word: each.get(word) for word in wanted} for each in findings], key="refused-data")
        _link(root / VALIDATION_PAGE, "validation")


def _link(page: Path, key: str) -> None:
    if page.is_file():
        create_link_artifact(page.resolve().as_uri(), link_text=page.name, key=key)


class Progress:
    """How far a stage has come, by the epochs it tells of; stages that tell of none have no artifact."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._artifact: UUID | None = None

    def hear(self, line: str) -> None:
        """Take in a line that the stage printed."""
        if told := EPOCH.search(line):
            with _shown():
                self._show(100.0 * int(told[1]) / int(told[2]), line)

    def _show(self, percent: float, line: str) -> None:
        if self._artifact:
            update_progress_artifact(self._artifact, percent, line)
        else:
            key = re.sub(r"[^a-z0-9]+", "-", f"progress-{self._stage.lower()}").strip("-")
            self._artifact = cast("UUID", create_progress_artifact(percent, key, line))
