"""What models give for the test rows of data/split/, through the same code as `trunkline predict`, and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.errors import DataError
from trunkline.evaluation.evidence import Array
from trunkline.tasks import Task, TaskState

if TYPE_CHECKING:
    from trunkline.serving.session import Model

BLOCK = 4_096  # rows computed at once, as serving does


def main_outputs(model: Model) -> dict[str, Any]:
    """Return the output that is scored by task: each task's first."""
    return {part.task: part for part in reversed(model.parts)}


def kinds(model: Model) -> dict[str, str]:
    """Return the kind of each task that a model predicts, as its card has it."""
    parts = {part.name for part in main_outputs(model).values()}
    return {entry["task"]: entry["kind"] for entry in model.card["outputs"] if entry["name"] in parts}


def score_rows(models: Sequence[Model], split: Path, tasks: Sequence[str]) -> list[dict[str, Array]]:
    """Return each model's predictions for the test rows, by task, float32 [rows, 1 or classes].

    Args:
        models: The opened models.
        split: data/split.
        tasks: Tasks that every model predicts.

    Raises:
        DataError: The rows lack a column that a model reads, or hold cells that it cannot read; names the model.
    """
    import pyarrow.compute as pc

    from trunkline.data.rows import open_rows

    rows = open_rows(split)
    held = set(rows.schema_arrow.names)
    columns = dict.fromkeys(entry.name for model in models for entry in model.inputs if entry.name in held)
    found: list[dict[str, list[Array]]] = [{task: [] for task in tasks} for _ in models]
    for batch in rows.iter_batches(BLOCK, columns=["side", *columns]):
        test = batch.filter(pc.equal(batch["side"], "test"))
        for model, blocks in zip(models, found, strict=True):
            given = _predict(model, test)
            for task, output in main_outputs(model).items():
                if task in blocks:
                    blocks[task].append(given[output.name])
    return [{task: np.concatenate(parts) for task, parts in blocks.items()} for blocks in found]


def _predict(model: Model, rows: Any) -> dict[str, Array]:
    from trunkline.serving.feeds import build_feeds

    try:
        feeds, rejected = build_feeds(rows, model.inputs)
    except DataError as fault:
        raise DataError(f"{model.path}: cannot read today's rows: {fault}") from None
    if rejected:
        raise DataError(f"{model.path}: cannot read today's rows: {next(iter(rejected.values()))}")
    return model.run(feeds)


def read_truth(split: Path, tasks: Mapping[str, Task], names: Sequence[str]) -> dict[str, tuple[TaskState, Array]]:
    """Return by task what today's training labels teach, and the labels of the test rows, float [rows], NaN = none.

    Args:
        split: data/split.
        tasks: All declared tasks.
        names: Those wanted.
    """
    from trunkline.data.encode import read_sides
    from trunkline.data.rows import open_rows
    from trunkline.tasks.given import defined, judged_labels, labelled_share

    rows = open_rows(split)
    sides, found = read_sides(rows), {}

    @cache
    def whole(name: str) -> Array:
        return tasks[name].read(rows.read(list(tasks[name].label_columns)))

    def train(name: str) -> Array:
        return whole(name)[sides["train"]]

    def test(name: str) -> Array:
        return whole(name)[sides["test"]]

    for name in names:
        share = labelled_share(train(name), defined(name, tasks, train)) if tasks[name].given else 1.0
        state = tasks[name].fit(name, judged_labels(name, tasks, train, share))
        found[name] = state, tasks[name].encode(judged_labels(name, tasks, test, share), state)
    return found


def in_order(prediction: Array, classes: Sequence[str], wanted: Sequence[str]) -> Array:
    """Return the columns of a prediction in the order of today's classes; one that the model does not know gets 0.

    Example:
        >>> in_order(np.array([[0.2, 0.8]]), ["no", "yes"], ["yes", "no", "perhaps"]).tolist()
        [[0.8, 0.2, 0.0]]
    """
    columns = {word: prediction[:, place] for place, word in enumerate(classes)}
    nothing = np.zeros(len(prediction), prediction.dtype)
    return np.stack([columns.get(word, nothing) for word in wanted], axis=1)
