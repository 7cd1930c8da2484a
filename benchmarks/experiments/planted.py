"""Run the pipeline, from split to evaluate, on a made-up table."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.evaluation.evidence import Evidence
from trunkline.files import read_json, seal, write_json
from trunkline.project import Project, parse_project
from trunkline.training.arm import load_arm
from trunkline.training.judge import predictions

SIDES = ("train", "validation", "test")
Values = np.ndarray[Any, np.dtype[np.float64]]


class World(NamedTuple):
    """Rows of a made-up world: inputs, and one target per task.

    Attributes:
        inputs: [rows, inputs].
        targets: [rows] per task, NaN = no label.
        counts: Rows of train, validation and test, in this order.
        extra: Further columns.
    """

    inputs: Values
    targets: Mapping[str, Values]
    counts: tuple[int, int, int]
    extra: Mapping[str, Sequence[Any]] = {}

    def table(self) -> pa.Table:
        """Return the rows as validate leaves them."""
        side = np.repeat(np.array(SIDES, dtype=object), self.counts)
        columns = {f"x{place}": pa.array(values) for place, values in enumerate(self.inputs.T)}
        targets = {name: pa.array(values, mask=np.isnan(values)) for name, values in self.targets.items()}
        number = pa.array([f"row {place}" for place in range(len(side))])
        extra = {name: pa.array(values) for name, values in self.extra.items()}
        drop = pa.array(["planted"] * len(side))
        return pa.table({"id": number, "drop": drop, "part": pa.array(side), **columns, **targets, **extra})


def declared(world: World, kinds: Mapping[str, str], **sections: Mapping[str, Any]) -> Project:
    """Return a project for a world: every target a task of its kind; `training={"epochs": 2}` changes that section."""
    content: dict[str, Any] = {
        "version": 1,
        "seed": 1,
        "data": {"key": ["id"]},
        "columns": {f"x{place}": {"kind": "numeric"} for place in range(world.inputs.shape[1])},
        "tasks": {name: {"kind": kinds.get(name, "regression"), "target": name} for name in world.targets},
        "split": {"kind": "column", "column": "part"},
        "trunk": {"width": 64, "depth": 2, "dropout": 0.0},
        "training": {"epochs": 20, "batch": 128, "learning_rate": 3e-3, "device": "cpu"},
        "monitor": {"every": 0, "lookahead": 0},
        "evaluation": {"draws": 1000},
    }
    for section, settings in sections.items():
        content[section] = {**content.get(section, {}), **settings} if isinstance(settings, Mapping) else settings
    return parse_project(content)


def prepare(root: Path, world: World, project: Project) -> None:
    """Write the world as validated rows, then split and encode them."""
    folder = root / stages.VALIDATED
    folder.mkdir(parents=True)
    pq.write_table(world.table(), folder / "rows.parquet")
    seal(folder, ["rows.parquet"])
    write_json(root / stages.REPORTS / "validation.json", {})
    with quiet():
        stages.split(root, project)
        stages.rebalance(root, project)
        stages.encode(root, project)


def judge(root: Path, world: World, project: Project) -> dict[str, Any]:
    """Train both sides and return reports/evaluation.json."""
    prepare(root, world, project)
    with quiet():
        stages.train(root, project)
        for task in project.tasks:
            stages.baseline(root, project, task)
        stages.evaluate(root, project)
    evaluation: dict[str, Any] = read_json(root / stages.REPORTS / "evaluation.json")
    return evaluation


@contextlib.contextmanager
def quiet() -> Any:
    """Send the stages' lines of progress nowhere."""
    with open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def alone_evidence(root: Path, project: Project, task: str) -> Evidence:
    """Train one task alone and return its evidence: the first half of the seeds as "shared", the others as "alone".

    Both sides are then the same recipe with other seeds, and any difference between them is chance.
    """
    with quiet():
        stages.baseline(root, project, task)
    encoded = Encoded(root / stages.ENCODED, [task])
    rows = encoded.side("test")
    found = np.stack([each[task] for each in predictions(load_arm(root / stages.ALONE / task, encoded.encoder), rows)])
    half = len(found) // 2
    labels = np.asarray(rows.labels[task], dtype=np.float64)
    state = encoded.states[task]
    return Evidence(task, project.tasks[task], state, labels, found[:half], found[half : 2 * half], 0)
