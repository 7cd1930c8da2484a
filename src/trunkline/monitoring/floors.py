"""The floors that tasks must keep up in service, and which of them surely fell below theirs.

A task fell where the whole interval of its newest labelled drop lies on the wrong side of the floor: the value of a
few rows alone tells nothing. A value below the floor whose interval holds it stands beside it, and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trunkline.errors import ArtifactError
from trunkline.files import read_json
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.followed import followed
from trunkline.tasks import Task

IN_SERVICE = Path("reports/in_service.json")


class Declares(Protocol):
    """What of a project is read here."""

    @property
    def drift(self) -> DriftWatch:
        """The declared limits and floors."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The declared tasks."""


def newest(content: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    """Return a task's entries of the newest drop in which it has labels, one per model, each with its drop."""
    held = [
        {"drop": drop["drop"], "model_sha256": drop["model_sha256"], **drop["tasks"][task]["score"]}
        for drop in content["drops"]
        if task in drop["tasks"] and drop["tasks"][task]["score"]
    ]
    return [entry for entry in held if entry["drop"] == held[-1]["drop"]]


def fell(entry: Mapping[str, Any], floor: float, *, higher_is_better: bool) -> bool:
    """Return whether a score is surely on the wrong side of its floor: the whole interval lies there."""
    ends = entry["interval"]
    return bool(ends) and (ends[1] < floor if higher_is_better else ends[0] > floor)


def floor_failures(root: Path, project: Declares, model_sha256: str | None = None) -> list[str]:
    """Return a line for each task that surely fell below its floor in service; none where nothing was measured.

    Args:
        root: The project's folder.
        project: Its tasks and its floors, `drift.floors`.
        model_sha256: Of the model whose scores count; None = of every model.

    Raises:
        ArtifactError: reports/in_service.json is not readable.
    """
    path = root / IN_SERVICE
    if not project.drift.floors or not path.exists():
        return []
    try:
        return list(_falls(read_json(path), project, model_sha256))
    except ArtifactError as fault:
        raise ArtifactError(f"{path}: is damaged; delete it, then `trunkline outcomes` writes it again") from fault


def _falls(content: Mapping[str, Any], project: Declares, model_sha256: str | None = None) -> Iterator[str]:
    for task, floor in project.drift.floors.items():
        declared = followed(project.tasks)[task].task
        higher = declared.metrics[declared.primary_metric].higher_is_better
        for entry in newest(content, task):
            if model_sha256 not in (None, entry["model_sha256"]):
                continue
            # A floor is in the primary metric's unit; outcomes of another one say nothing of it.
            if entry["metric"] == declared.primary_metric and fell(entry, floor, higher_is_better=higher):
                yield _line(task, entry, floor, higher)


def _line(task: str, entry: Mapping[str, Any], floor: float, higher: bool) -> str:
    low, high = entry["interval"]
    side = "below its floor" if higher else "above its ceiling"
    return (
        f"task '{task}': {entry['metric']} {entry['value']:.4g} in service [{low:.4g}, {high:.4g}] on "
        f"{entry['rows']} rows of {entry['drop']} is {side} {floor:g}"
    )


def sayings(content: Mapping[str, Any], project: Declares) -> Iterator[str]:
    """Yield what the newest labelled drop says of each task, what fell last.

    Args:
        content: reports/in_service.json.
        project: Its tasks and its floors.
    """
    for name in followed(project.tasks):
        floor = project.drift.floors.get(name)
        for entry in newest(content, name):
            ends = entry["interval"]
            within = f"[{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "(too few rows for an interval)"
            value = "n/a" if not np.isfinite(entry["value"]) else f"{entry['value']:.4g}"
            beside = "" if floor is None else f", floor {floor:g}"
            yield f"{name}: {entry['metric']} {value} {within} on {entry['rows']} rows of {entry['drop']}{beside}"
    yield from _falls(content, project)
