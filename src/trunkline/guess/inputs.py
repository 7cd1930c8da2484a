"""Which columns the model may read, as what kind; the others are left out, each for a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from trunkline.data.conversion import convert
from trunkline.data.declarations import Leaks
from trunkline.data.ingest import INPUT_TYPES, LABEL_TYPES
from trunkline.guess.held import Held
from trunkline.guess.key import is_numbered, names_rows
from trunkline.guess.table import Table
from trunkline.guess.targets import LABEL_TYPES as LABELS
from trunkline.guess.targets import Aim
from trunkline.guess.words import figure, percent, shown
from trunkline.project import RESERVED_COLUMNS

COLUMN_KINDS = {"number": "numeric", "whole": "numeric", "words": "categorical", "moment": "timestamp"}
MOST_OWN = 0.5  # different words per row from which on they name rows rather than kinds of rows
FEWEST_OWN = 20  # rows from which on that is told
FEWEST_NUMBERED = 1000  # rows from which on different whole numbers are numbers of rows
LONGEST_NAME = 500
EPOCH = datetime(1970, 1, 1)
YEAR = 366 * 86_400_000_000  # microseconds
HINTS = {"ROC AUC": 0.95, "rank correlation": 0.98}
"""From which on an input that is no leak yet is pointed at."""


class Input(NamedTuple):
    """An input: its kind in params.yaml, the cycles of a timestamp, and what it holds in words."""

    kind: str
    cycles: list[str]
    says: str


class Inputs(NamedTuple):
    """Inputs and what was left out with the reason, both by column, and what to look at."""

    chosen: dict[str, Input]
    left_out: dict[str, str]
    notes: list[str]


def choose(table: Table, aims: Mapping[str, Aim], key: Collection[str], ignored: Collection[str]) -> Inputs:
    """Return the inputs: every column that is no target and that something can be learned from."""
    outputs = {f"{aim.task}.{part}" for aim in aims.values() for part in ("probability", "value", "label", "set")}
    left_out = {name: f"holds {kind}, which no input is" for name, kind in table.nested.items() if name not in ignored}
    chosen: dict[str, Input] = {}
    for name, held in table.columns.items():
        if name in aims:
            continue
        if reason := _reason(held, key, ignored, outputs):
            left_out[name] = reason
        else:
            chosen[name] = _input(held)
    leaks, notes = _leaks(table, list(chosen), aims)
    kept = {name: found for name, found in chosen.items() if name not in leaks}
    order = {name: {**left_out, **leaks, **dict.fromkeys(ignored, "as you said")}.get(name) for name in table.names}
    return Inputs(kept, {name: reason for name, reason in order.items() if reason}, notes)


def _reason(held: Held, key: Collection[str], ignored: Collection[str], outputs: Collection[str]) -> str | None:
    """Return why a column is no input; None where it is one."""
    if held.name in ignored:
        return "as you said"
    if held.name in RESERVED_COLUMNS or held.name in outputs:
        return "trunkline writes a column of that name; rename it to use it"
    if len(held.name) > LONGEST_NAME or not held.name.isprintable():
        return "its name is too long or cannot be shown; rename it to use it"
    if held.kind == "nothing":
        return "no value in any row"
    if held.different == 1:
        return f"the same value in every row: {shown(next(iter(held.counts)))}"
    if len(key) == 1 and held.name in key:
        return "the key: it names rows"
    return held.misspelled or _naming(held)


def _naming(held: Held) -> str | None:
    own = held.different == held.known
    if held.kind == "words" and held.known >= FEWEST_OWN and held.different > MOST_OWN * held.known:
        return f"{held.different:,} different words in {held.known:,} rows: it names rows"
    numbers_rows = is_numbered(held) or names_rows(held) or held.known >= FEWEST_NUMBERED
    if held.kind == "whole" and own and held.known >= FEWEST_OWN and numbers_rows:
        return "another whole number in every row: it names rows"
    return None


def _input(held: Held) -> Input:
    cycles: list[str] = []
    if held.kind == "moment":
        spans_years = held.high - held.low >= YEAR
        cycles = [*(["day"] if not held.is_daily else []), "week", *(["year"] if spans_years else [])]
    missing = held.rows - held.known
    lacking = f", {percent(missing / held.rows)} missing" if missing else ""
    return Input(COLUMN_KINDS[held.kind], cycles, _says(held) + lacking)


def _says(held: Held) -> str:
    if held.kind == "words":
        word, count = next(iter(held.counts.items()))
        return f"{held.different} words, {shown(word)} in {percent(count / held.known)}"
    if held.kind == "moment":
        first, last = (str(EPOCH + timedelta(microseconds=end))[:10] for end in (held.low, held.high))
        return f"{first} to {last}"
    return f"{figure(held.low)} to {figure(held.high)}, mean {figure(held.mean)}"


# --- leaks ------------------------------------------------------------------------------------------------


def _leaks(table: Table, names: list[str], aims: Mapping[str, Aim]) -> tuple[dict[str, str], list[str]]:
    """Return the inputs that validate would refuse with the reason, and a note on those that come near."""
    from trunkline.data.validate.leaks import MOST_WORDS, look
    from trunkline.data.validate.raw import coded, target_of
    from trunkline.tasks.base import LabelColumn

    every = np.ones(table.rows, dtype=bool)
    targets = []
    for name, aim in aims.items():
        kind = LABELS[aim.kind]
        targets.append(target_of(name, LabelColumn("target", kind), _as(table, name, LABEL_TYPES[kind]), every))  # type: ignore[arg-type]
    codes = {
        name: coded(_as(table, name, INPUT_TYPES[COLUMN_KINDS[table.columns[name].kind]]), every) for name in names
    }
    groups = {name: held for name, held in codes.items() if not held.ordered and len(held.values) <= MOST_WORDS}
    refused: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        found, hint = look(name, codes[name], targets, groups, Leaks())
        if found:
            told = found[0].said.removeprefix(f"input '{name}': ").partition(";")[0]
            refused[name] = f"possible leak: {told}"
        elif hint and hint.score >= HINTS[hint.how]:
            notes.append(
                f"{shown(name)} alone tells nearly all of {shown(hint.target)} ({hint.how} {hint.score:.3f}): if it is "
                f"not known when you predict, add --ignore '{name}'"
            )
    return refused, notes


def _as(table: Table, name: str, wanted: pa.DataType) -> pa.ChunkedArray:
    array = table.columns[name].array
    return pa.chunked_array([convert(pa.chunked_array([array]), wanted, name)])


def near_moments(table: Table, chosen: Mapping[str, Input]) -> Iterator[str]:
    """Yield the inputs by which rows could be ordered in time."""
    yield from (name for name, found in chosen.items() if found.kind == "timestamp")
