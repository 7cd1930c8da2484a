"""How the model does in service: predictions that were kept, joined by key with the labels that came later.

in      files of kept predictions (serving/kept.py); rows with the key and the tasks' targets
out     reports/in_service.json: every task's score by drop and model with its interval, and what fell below its floor

A task fell where the whole interval of its newest labelled drop lies on the wrong side of the floor: the value of a
few rows alone tells nothing. Below the floor within the interval is said, and fails nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trunkline.errors import DataError
from trunkline.files import read_json
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.rows_of_drops import Scored, label_facts, promised, score
from trunkline.monitoring.targets import encode_target, read_target
from trunkline.serving.cells import READERS
from trunkline.serving.cells.base import plain
from trunkline.serving.feeds import pick
from trunkline.serving.kept import Kept
from trunkline.serving.sources.base import refusing
from trunkline.tasks import Task

FORMAT = 1
IN_SERVICE = Path("reports/in_service.json")
BETWEEN = "\x1f"  # parts of a key
SHOWN = 3  # keys that a refusal names


class Declares(Protocol):
    """What of a project is read here."""

    @property
    def drift(self) -> DriftWatch:
        """The declared limits and floors."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The declared tasks."""


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
    label_rows, label_keys = labels.filter(known), of_labels.filter(known)
    drops, seen = [], dict[str, list[Any]]()
    for (drop, model), files in itertools.groupby(kept, lambda each: (each.drop, each.model_sha256)):
        table = _read([each.path for each in files])
        answered = table.filter(table["rejected"].is_null())
        keys = keys_of(answered, key, moments)
        seen.setdefault(model, []).append(keys)
        places = pc.index_in(keys, value_set=label_keys)
        counts = {
            "rows": len(table),
            "rejected": len(table) - len(answered),
            "without_key": keys.null_count,
            "matched": len(places) - places.null_count,
            "unmatched": places.null_count - keys.null_count,
        }
        predictions, matched = answered.filter(places.is_valid()), label_rows.take(places.drop_null())
        tasks = {
            name: _task(scored, seed, project.drift.floors.get(name))
            for name, scored in _scored(predictions, matched, project.tasks)
        }
        drops.append({"drop": drop, "model_sha256": model, **counts, "tasks": tasks})
    for model, of_model in seen.items():
        _refuse_repeated(pa.chunked_array(of_model), f"kept predictions of model {model[:12]}")
    predicted = pa.chunked_array(list(itertools.chain.from_iterable(seen.values())), pa.string())
    unused = pc.invert(pc.is_in(label_keys, value_set=pc.unique(predicted)))
    found: dict[str, Any] = {
        "version": FORMAT,
        "labels": {
            "rows": labels.num_rows,
            "without_key": of_labels.null_count,
            "without_prediction": int(pc.sum(unused).as_py() or 0),
        },
        "kept": {
            name: sum(drop[name] for drop in drops)
            for name in ("rows", "rejected", "without_key", "matched", "unmatched")
        },
        "drops": drops,
    }
    return found | {"says": list(_says(found, project))}


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
    for name, task in tasks.items():
        columns = [each for each in predictions.column_names if _is_main(each, name)]
        if not columns or task.target not in labels.column_names:
            continue
        classes = [each.removeprefix(f"{name}.probability.") for each in columns if task.kind == "multiclass"]
        made = np.stack([predictions[each].to_numpy() for each in columns], axis=1)
        values = read_target(task.target, labels[task.target], task.kind, classes)
        prevalence = made.mean(axis=0).tolist() if len(made) else [0.0] * len(columns)
        state = {"kind": task.kind, "classes": classes, "prevalence": prevalence}
        yield name, Scored(task, state, encode_target(values, task.kind, classes), made)


def _is_main(column: str, task: str) -> bool:
    return column == f"{task}.value" or column == f"{task}.probability" or column.startswith(f"{task}.probability.")


def _task(scored: Scored, seed: int, floor: float | None) -> dict[str, Any]:
    rows = np.ones(len(scored.labels), dtype=np.bool_)
    found = score(scored, rows, seed) if len(rows) else None
    return {
        "labels": label_facts(scored.labels, scored),
        "predicted": promised(scored.prediction[~np.isnan(scored.labels)], scored),
        "score": found,
        "floor": floor,
    }


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


def floor_failures(root: Path, project: Declares) -> list[str]:
    """Return a line for each task that surely fell below its floor in service; none where nothing was measured.

    Args:
        root: The project's folder.
        project: Its tasks and its floors, `drift.floors`.

    Raises:
        ArtifactError: reports/in_service.json is not readable.
    """
    path = root / IN_SERVICE
    return list(_falls(read_json(path), project)) if project.drift.floors and path.exists() else []


def _falls(content: Mapping[str, Any], project: Declares) -> Iterator[str]:
    for task, floor in project.drift.floors.items():
        for entry in newest(content, task):
            metric = project.tasks[task].metrics.get(entry["metric"])
            if metric and fell(entry, floor, higher_is_better=metric.higher_is_better):
                yield _line(task, entry, floor, metric.higher_is_better)


def _line(task: str, entry: Mapping[str, Any], floor: float, higher: bool) -> str:
    low, high = entry["interval"]
    side = "below its floor" if higher else "above its ceiling"
    return (
        f"task '{task}': {entry['metric']} {entry['value']:.4g} in service [{low:.4g}, {high:.4g}] on "
        f"{entry['rows']} rows of {entry['drop']} is {side} {floor:g}"
    )


def _says(content: Mapping[str, Any], project: Declares) -> Iterator[str]:
    """Yield what the newest labelled drop says of each task, what fell last."""
    for name in project.tasks:
        for entry in newest(content, name):
            ends = (
                "[{:.4g}, {:.4g}]".format(*entry["interval"]) if entry["interval"] else "(too few rows for an interval)"
            )
            value = "n/a" if not np.isfinite(entry["value"]) else f"{entry['value']:.4g}"
            yield f"{name}: {entry['metric']} {value} {ends} on {entry['rows']} rows of {entry['drop']}"
    yield from _falls(content, project)
