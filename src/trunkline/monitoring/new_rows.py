"""New rows against a model's reference.json: no training row is needed, and memory is bounded.

Labels are compared too where the rows hold the tasks' target columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from trunkline.monitoring.compare import compare
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.profiles import Tally
from trunkline.monitoring.reference import Reference
from trunkline.monitoring.series import Array, of_column, of_prediction
from trunkline.monitoring.targets import read_label
from trunkline.serving.feeds import Feeds, build_feeds
from trunkline.serving.session import Model
from trunkline.serving.sources.delimited import without

FORMAT = 1
BATCH = 4_096  # rows that the model takes at once


def columns_read(model: Model, reference: Reference, held: Sequence[str]) -> list[str]:
    """Return the columns to read of rows that hold the columns `held`: inputs, and the targets among them."""
    tasks = reference.tasks.values()
    targets = [name for task in tasks for name in (task["target"], *(link["target"] for link in task.get("given", [])))]
    return list(dict.fromkeys([*(entry.name for entry in model.inputs), *(name for name in targets if name in held)]))


def drift_of(
    model: Model, reference: Reference, tables: Iterable[Any], null_values: list[str], watch: DriftWatch, seed: int
) -> dict[str, Any]:
    """Return what drifted between the model's training rows and new ones.

    Args:
        model: The opened model.
        reference: Its reference.
        tables: The new rows as Arrow tables of `columns_read`.
        null_values: Texts that mean "no value" in them, besides the empty one.
        watch: The limits.
        seed: The project's seed.

    Raises:
        DataError: An input is absent, there twice or of a type that its kind cannot hold.
    """
    tallies: dict[tuple[str, str], Tally] = {}
    rows = rejected = 0
    for cells in tables:
        table = without(cells, null_values)
        feeds, refused = build_feeds(table, model.inputs)
        rows, rejected = rows + table.num_rows, rejected + len(refused)
        for key, values in _series(model, reference, table, feeds, list(refused)).items():
            now = reference.profiles[key].count(values)
            tallies[key] = tallies[key] + now if key in tallies else now
    return {
        "version": FORMAT,
        "model_sha256": model.sha256,
        "training_rows": reference.rows,
        "newest": {"rows": rows, "rejected": rejected},
        "found": compare(reference.profiles, tallies, watch, seed),
    }


def _series(
    model: Model, reference: Reference, table: Any, feeds: Feeds, rejected: list[int]
) -> dict[tuple[str, str], Array]:
    found = {("column", entry.name): of_column(entry.kind, feeds[entry.name]) for entry in model.inputs}
    for part, prediction in _predictions(model, reference, feeds, table.num_rows).items():
        prediction[rejected] = np.nan
        found["prediction", part] = of_prediction(prediction, reference.tasks[part]["classes"])
    labels = {name: read_label(table, task) for name, task in reference.tasks.items()}
    return found | {("label", name): values for name, values in labels.items() if values is not None}


def _predictions(model: Model, reference: Reference, feeds: Feeds, rows: int) -> dict[str, Array]:
    """Return the probability or value of what is followed, float64 [rows, columns]."""
    main = {part.task: part.name for part in model.parts if part.part in ("probability", "value")}
    of_tasks = {name: task.get("output", {"task": name, "column": None}) for name, task in reference.tasks.items()}
    outputs = {name: (main[each["task"]], each["column"]) for name, each in of_tasks.items() if each["task"] in main}
    parts = [
        model.run({name: feed[start : start + BATCH] for name, feed in feeds.items()})
        for start in range(0, rows, BATCH)
    ]
    whole = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name, _ in outputs.values()}
    return {
        name: whole[output] if column is None else whole[output][:, column : column + 1].copy()
        for name, (output, column) in outputs.items()
    }
