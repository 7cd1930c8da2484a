"""data/split/ drop by drop: the training rows' profiles, the newest rows, and how labels and scores moved over drops.

in      data/split/, the exported model's predictions and the labels of every row
out     reports/drift.json: what drifted between the training rows and the newest drops; labels and scores by drop
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.evaluation.bootstrap import Spread, draw_rows, enough_units
from trunkline.evaluation.calibration import Z, wilson
from trunkline.evaluation.slices import FEWEST_ROWS
from trunkline.monitoring.compare import compare
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.followed import Followed
from trunkline.monitoring.profiles import QUANTILES, Profile, Tally
from trunkline.monitoring.reference import Reference
from trunkline.monitoring.series import Array, of_column, of_label, of_prediction, profile
from trunkline.serving.feeds import Input, build_feeds
from trunkline.tasks.metrics import Panel
from trunkline.tasks.multilabel import unpacked

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from trunkline.tasks import Task, TaskState

FORMAT = 1
DRAWS = 200  # of the bootstrap behind an interval over time, which decides nothing by itself


@dataclass(frozen=True)
class Scored:
    """One task on all rows of data/split/, in their order.

    Attributes:
        task: Its declaration.
        state: What was learned from its training labels.
        labels: As the kind encodes them, float [rows], NaN = no label.
        prediction: The exported model's, float [rows, 1 or classes].
    """

    task: Task
    state: TaskState
    labels: Array
    prediction: Array

    @classmethod
    def of(cls, each: Followed, state: TaskState, labels: Array, prediction: Array) -> Scored:
        """Return one thing that is followed, out of the labels and predictions of its declared task."""
        if each.place is None:
            return cls(each.task, state, labels, prediction)
        place, prevalence = each.place, state["prevalences"][each.place]
        held = {"kind": "binary", "prevalence": prevalence, "bias": [state["bias"][place]]}
        answers = unpacked(labels, len(state["labels"]))[:, place]
        return cls(each.task, held, answers, prediction[:, place : place + 1])

    @property
    def classes(self) -> list[str]:
        """Classes of a multiclass task; else none."""
        return list(self.state.get("classes", []))


def find_drift(
    rows: pq.ParquetFile,
    inputs: Sequence[Input],
    followed: Mapping[str, Followed],
    scored: Mapping[str, Scored],
    watch: DriftWatch,
    seed: int,
) -> dict[str, Any]:
    """Return the content of reports/drift.json.

    Args:
        rows: data/split/rows.parquet, open.
        inputs: The model's inputs.
        followed: What is followed, by name.
        scored: The same on all rows.
        watch: The declared limits.
        seed: The project's seed.
    """
    names, drop_of = _coded(rows, "drop")
    sides, side_of = _coded(rows, "side")
    training = side_of == sides.index("train")
    newest = (drop_of >= len(names) - watch.drops) & ~training
    profiles: dict[tuple[str, str], Profile] = {}
    tallies: dict[tuple[str, str], Tally] = {}
    for key, values in _series(rows, inputs, scored):
        profiles[key] = profile(values[training])
        tallies[key] = profiles[key].count(values[newest])
    facts = {name: each.facts(scored[name].classes) for name, each in followed.items()}
    reference = Reference(int(training.sum()), profiles, facts)
    return {
        "version": FORMAT,
        "training_rows": reference.rows,
        "newest": {"drops": names[-watch.drops :], "rows": int(newest.sum())},
        "found": compare(profiles, tallies, watch, seed),
        "by_drop": [by_drop(name, drop_of == at, training, scored, seed) for at, name in enumerate(names)],
        "reference": reference.to_json(),
    }


def _coded(rows: pq.ParquetFile, column: str) -> tuple[list[str], Array]:
    """Return a column's different words in their order, and each row's place among them, int [rows]."""
    coded = rows.read([column])[column].combine_chunks().dictionary_encode()
    words = coded.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    return [words[at] for at in order], np.argsort(order)[coded.indices.to_numpy()]


def _series(
    rows: pq.ParquetFile, inputs: Sequence[Input], scored: Mapping[str, Scored]
) -> Iterable[tuple[tuple[str, str], Array]]:
    """Yield every column, prediction and label of all rows, one at a time in memory."""
    for entry in inputs:
        feeds, _ = build_feeds(rows.read([entry.name]), [entry])
        yield ("column", entry.name), of_column(entry.kind, feeds[entry.name])
    for name, each in scored.items():
        yield ("prediction", name), of_prediction(each.prediction, each.classes)
        yield ("label", name), of_label(each.task.kind, each.labels, each.classes)


def by_drop(name: str, drop: Array, training: Array, scored: Mapping[str, Scored], seed: int) -> dict[str, Any]:
    """Return how a drop's labels lie, and how the model does on its rows outside training.

    Args:
        name: The drop's name.
        drop: True where a row belongs to it, bool [rows].
        training: True where a row trained the model, bool [rows].
        scored: Every task on all rows, by name.
        seed: The project's seed.
    """
    fresh = drop & ~training
    return {
        "drop": name,
        "rows": int(drop.sum()),
        "trained_on": int((drop & training).sum()),
        "tasks": {
            task: {
                "labels": label_facts(each.labels[drop], each),
                "predicted": promised(each.prediction[drop & ~np.isnan(each.labels)], each),
                "score": score(each, fresh, seed) if (fresh & ~np.isnan(each.labels)).sum() >= FEWEST_ROWS else None,
            }
            for task, each in scored.items()
        },
    }


def label_facts(labels: Array, scored: Scored) -> dict[str, Any]:
    """Return how many labels there are and how they lie: shares of words, or mean and quantiles of numbers.

    "level" is what a chart over time draws, with its "interval": the share of yes, the share of the class that was
    commonest in training, or the mean.
    """
    known = labels[~np.isnan(labels)]
    found: dict[str, Any] = {"labelled": len(known)}
    if not len(known):
        return found | {"level": None, "interval": None}
    if not scored.classes and scored.task.kind != "binary":
        mean, error = float(known.mean()), float(known.std()) / math.sqrt(len(known))
        names = [f"{100 * share:g} %" for share in QUANTILES]
        quantiles = dict(zip(names, np.quantile(known, QUANTILES).tolist(), strict=True))
        return found | {"level": mean, "interval": [mean - Z * error, mean + Z * error], "quantiles": quantiles}
    words = scored.classes or ["false", "true"]
    counts = np.bincount(known.astype(np.int64), minlength=len(words))
    hits = int(counts[_shown(scored)])
    shares = dict(zip(words, (counts / len(known)).tolist(), strict=True))
    return found | {"level": hits / len(known), "interval": wilson(hits, len(known)), "shares": shares}


def _shown(scored: Scored) -> int:
    """Return the class that is drawn over time: yes, or the commonest in training."""
    return int(np.argmax(scored.state["prevalence"])) if scored.classes else 1


def promised(prediction: Array, scored: Scored) -> float | None:
    """Return the mean that was predicted of what `label_facts` calls the level."""
    column = _shown(scored) if scored.classes else 0
    return float(prediction[:, column].mean(dtype=np.float64)) if len(prediction) else None


def score(scored: Scored, rows: Array, seed: int) -> dict[str, Any] | None:
    """Return the primary metric on some rows with its 95 % interval; None where none has a label.

    Args:
        scored: The task.
        rows: True where a row counts, bool [rows].
        seed: The project's seed.
    """
    chosen = rows & ~np.isnan(scored.labels) & ~np.isnan(scored.prediction[:, 0])
    labels, prediction = scored.labels[chosen].astype(np.float64), scored.prediction[chosen]
    if not len(labels):
        return None
    metric = scored.task.primary_metric
    found = scored.task.scores(labels, prediction, scored.state)
    return {
        "rows": len(labels),
        "metric": metric,
        "value": found[metric],
        "interval": _interval(scored, labels, prediction, found[metric], seed),
        "scores": found,
    }


def _interval(scored: Scored, labels: Array, prediction: Array, value: float, seed: int) -> list[float] | None:
    from threadpoolctl import threadpool_limits

    units = np.arange(len(labels))
    if not enough_units(units) or not math.isfinite(value):
        return None
    panel = Panel([scored.task.resampled(labels, prediction, scored.state)[scored.task.primary_metric]])
    with threadpool_limits(1, user_api="blas"):
        drawn = np.concatenate([panel(counts) for counts in draw_rows(units, DRAWS, seed)], axis=1)[0]
    return Spread(drawn, drawn, 1).interval_around(value)
