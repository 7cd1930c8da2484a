"""Target columns of any file as labels: numbers, or words, however yes and no are spelled there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trunkline.monitoring.series import Array, of_label, words_of
from trunkline.serving.cells import READERS
from trunkline.serving.cells.base import plain
from trunkline.serving.feeds import pick
from trunkline.tasks.given import joint, labelled_share

SPELLED = {"0": "false", "1": "true", "no": "false", "yes": "true"}


def read_label(table: pa.Table, facts: Mapping[str, Any]) -> Array | None:
    """Return the labels of what is followed, as `read_target` gives them; None where the table lacks a column.

    Args:
        table: Rows of any file.
        facts: Its "kind", "target" and "classes", and where it is given others, "given"; see `Followed.facts`.

    Raises:
        DataError: A column's type can hold no such label.
    """
    given = facts.get("given", [])
    if any(name not in table.schema.names for name in (facts["target"], *(link["target"] for link in given))):
        return None
    kind, classes = facts["kind"], facts["classes"]
    labels = read_target(facts["target"], pick(table, facts["target"]), kind, classes)
    if not given:
        return labels
    exists = _exists(table, given)
    if kind != "binary":
        return np.where(exists == 1, labels, "" if labels.dtype == object else np.nan)
    known = encode_target(labels, kind, classes)
    return of_label(kind, joint(known, exists, labelled_share(known, exists)), classes)


def _exists(table: pa.Table, given: Sequence[Mapping[str, str]]) -> Array:
    """Return where every task above has its value: 1 = yes, 0 = no, NaN = not known, float64 [rows]."""
    exists = np.ones(table.num_rows)
    for link in reversed(given):
        words = read_target(
            link["target"], pick(table, link["target"]), link["kind"], [link["word"]][: link["kind"] != "binary"]
        )
        holds = np.where(words == "", np.nan, words == link["word"])
        exists = np.where(exists == 1, holds, exists)
    return exists


def read_target(name: str, column: Any, kind: str, classes: list[str] | tuple[str, ...]) -> Array:
    """Return a target column as float64 [rows] with NaN, or as words, str objects [rows], with "" for none.

    Args:
        name: The column's name.
        column: Arrow cells, of text in CSV files.
        kind: The task's kind.
        classes: Of a multiclass task; else empty.

    Raises:
        DataError: The column's type can hold no such label.
    """
    cells = plain(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    if not words_of(kind, classes):
        # Training labels went through float32, and a tie has a bin of its own.
        return READERS["numeric"](name, cells)[0].astype(np.float32).astype(np.float64)
    words = READERS["categorical"](name, cells)[0]
    if classes:
        return words
    spelled = {word: SPELLED.get(word.lower(), word.lower()) for word in set(words.tolist())}
    return np.array([spelled[word] for word in words.tolist()], dtype=object)


def encode_target(values: Array, kind: str, classes: list[str] | tuple[str, ...]) -> Array:
    """Return what `read_target` gave as scores read it: float64 [rows], NaN for no label and for unknown words."""
    words = words_of(kind, classes)
    if not words:
        return values
    place = {word: float(at) for at, word in enumerate(words)}
    return np.array([place.get(word, np.nan) for word in values.tolist()], dtype=np.float64)
