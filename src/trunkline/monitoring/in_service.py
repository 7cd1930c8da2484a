"""How the model does in service: predictions that were kept, joined by key with the labels that came later.

in      files of kept predictions (serving/kept.py); rows with the key and the tasks' targets
out     reports/in_service.json: every task's score by drop and model with its interval, and what fell below its floor
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trunkline.errors import DataError
from trunkline.monitoring.floors import Declares, sayings
from trunkline.monitoring.followed import Followed, followed
from trunkline.monitoring.rows_of_drops import Scored, label_facts, promised, score
from trunkline.monitoring.targets import encode_target, read_label
from trunkline.serving.cells import READERS
from trunkline.serving.cells.base import plain
from trunkline.serving.feeds import pick
from trunkline.serving.kept import Kept
from trunkline.serving.sources.base import refusing
from trunkline.tasks import Task

FORMAT = 1
COUNTS = ("rows", "rejected", "without_key", "matched", "unmatched")  # of a drop, and of all
BETWEEN = "\x1f"  # parts of a key
SHOWN = 3  # keys that a refusal names


def outcomes(
    kept: Sequence[Kept], labels: pa.Table, key: Sequence[str], project: Declares, seed: int, where: str
) -> dict[str, Any]:
    """Return the content of reports/in_service.json.

    Args:
        kept: Files of kept predictions.
        labels: Rows with the key's columns, and those of the targets that are known.
        key: Columns that identify a row.
        project: Its tasks and floors.
        seed: Its seed.
        where: Name of the labels' file, for messages.

    Raises:
        DataError: A key stands twice among the labels, or twice among the predictions of one model.
    """
    moments = _moments(kept, labels, key)
    of_labels = keys_of(labels, key, moments)
    _refuse_repeated(of_labels, where)
    known = of_labels.is_valid()
    truth = _Truth(labels.filter(known), of_labels.filter(known))
    drops, seen = [], dict[str, list[Any]]()
    for (drop, model), files in itertools.groupby(kept, lambda each: (each.drop, each.model_sha256)):
        table = _read([each.path for each in files])
        answered = table.filter(table["rejected"].is_null())
        keys = keys_of(answered, key, moments)
        seen.setdefault(model, []).append(keys)
        rows = {"rows": len(table), "rejected": len(table) - len(answered)}
        drops.append({"drop": drop, "model_sha256": model, **rows, **_joined(answered, keys, truth, project, seed)})
    for model, of_model in seen.items():
        _refuse_repeated(pa.chunked_array(of_model), f"kept predictions of model {model[:12]}")
    predicted = pc.unique(pa.chunked_array(list(itertools.chain.from_iterable(seen.values())), pa.string()))
    found: dict[str, Any] = {
        "version": FORMAT,
        "labels": {
            "rows": labels.num_rows,
            "without_key": of_labels.null_count,
            "without_prediction": len(truth.keys) - (pc.sum(pc.is_in(truth.keys, value_set=predicted)).as_py() or 0),
        },
        "kept": {name: sum(drop[name] for drop in drops) for name in COUNTS},
        "drops": drops,
    }
    return found | {"says": list(sayings(found, project))}


class _Truth(NamedTuple):
    """Rows whose labels are known, and their keys; none of them lacks a part of it."""

    rows: pa.Table
    keys: pa.Array


def _joined(answered: pa.Table, keys: pa.Array, truth: _Truth, project: Declares, seed: int) -> dict[str, Any]:
    """Return how many predictions found their label row, and every task's score on them."""
    places = pc.index_in(keys, value_set=truth.keys)
    predictions, labels = answered.filter(places.is_valid()), truth.rows.take(places.drop_null())
    return {
        "without_key": keys.null_count,
        "matched": len(labels),
        "unmatched": places.null_count - keys.null_count,
        "tasks": {
            name: _task(scored, seed, project.drift.floors.get(name))
            for name, scored in _scored(predictions, labels, project.tasks)
        },
    }


def keys_of(table: pa.Table, key: Sequence[str], moments: Sequence[bool]) -> pa.Array:
    """Return each row's key as text, null where a part of it is missing; one moment or number has one text.

    Args:
        table: The rows.
        key: The key's columns.
        moments: Which of them are moments, whatever their type in this table.
    """
    parts = [_part(name, pick(table, name), moment) for name, moment in zip(key, moments, strict=True)]
    return pc.binary_join_element_wise(*parts, BETWEEN)


def _part(name: str, column: Any, moment: bool) -> pa.Array:
    cells = plain(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    if moment:
        seconds, _ = READERS["timestamp"](name, cells)
        return pa.array(seconds, mask=seconds == np.iinfo(np.int64).min).cast(pa.string())
    words, _ = READERS["categorical"](name, cells)
    return pa.array(words, pa.string(), mask=words == "")


def _moments(kept: Sequence[Kept], labels: pa.Table, key: Sequence[str]) -> list[bool]:
    """Return which of the key's columns are moments in one file and text in another."""
    schemas = [labels.schema, *(pq.read_schema(each.path) for each in kept)]
    typed = [[pa.types.is_timestamp(schema.field(name).type) for schema in schemas] for name in key]
    return [any(of_files) and not all(of_files) for of_files in typed]


def _refuse_repeated(keys: Any, where: str) -> None:
    known = keys.drop_null()
    if len(pc.unique(known)) == len(known):
        return
    repeated = sorted(entry["values"] for entry in pc.value_counts(known).to_pylist() if entry["counts"] > 1)
    shown = ", ".join(repr(word.replace(BETWEEN, " ")) for word in repeated[:SHOWN])
    raise DataError(
        f"{where}: {len(repeated)} of the keys stand there more than once, such as {shown}; which of their rows "
        f"counts cannot be known. Keep one row per key"
    )


def _read(paths: Sequence[Path]) -> pa.Table:
    tables = []
    for path in paths:
        with refusing(path):
            tables.append(pq.read_table(path, partitioning=None))
    return pa.concat_tables(tables, promote_options="permissive")


def _scored(predictions: pa.Table, labels: pa.Table, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Scored]]:
    """Yield the tasks of which there are both predictions and a target column."""
    for name, each in followed(tasks).items():
        columns = [column for column in predictions.column_names if _is_main(column, each)]
        if not columns:
            continue
        task = each.task
        classes = [column.removeprefix(f"{name}.probability.") for column in columns if len(columns) > 1]
        values = read_label(labels, each.facts(classes))
        if values is None:
            continue
        made = np.stack([predictions[column].to_numpy() for column in columns], axis=1)
        prevalence = made.mean(axis=0).tolist() if len(made) else [0.0] * len(columns)
        state = {"kind": task.kind, "classes": classes, "prevalence": prevalence}
        yield name, Scored(task, state, encode_target(values, task.kind, classes), made)


def _is_main(column: str, each: Followed) -> bool:
    if each.place is not None:
        return column == f"{each.of}.probability.{each.target}"
    return column in (f"{each.of}.value", f"{each.of}.probability") or column.startswith(f"{each.of}.probability.")


def _task(scored: Scored, seed: int, floor: float | None) -> dict[str, Any]:
    rows = np.ones(len(scored.labels), dtype=np.bool_)
    found = score(scored, rows, seed) if len(rows) else None
    return {
        "labels": label_facts(scored.labels, scored),
        "predicted": promised(scored.prediction[~np.isnan(scored.labels)], scored),
        "score": found,
        "floor": floor,
    }
