"""Everything that was decided about a person's files, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.declared import did_you_mean
from trunkline.errors import DataError, ParamsError
from trunkline.guess.inputs import Input, choose, near_moments
from trunkline.guess.key import Key, find_key
from trunkline.guess.sides import Lengths, split_of
from trunkline.guess.table import Table, read_files
from trunkline.guess.targets import Aim, read_asked, settle
from trunkline.guess.words import shown

MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
FEW_OF_CLASS = 20  # what validation.min_class_rows asks for by default
FEW_ROWS = 100  # and validation.min_rows


class Wishes(NamedTuple):
    """What a person said of the files besides their names."""

    targets: Sequence[str]
    key: Sequence[str] = ()
    time: str | None = None
    ignored: Sequence[str] = ()
    name: str | None = None


class Draft(NamedTuple):
    """What was decided: targets and inputs by column, what was left out and why, and what to look at."""

    name: str
    table: Table
    aims: Mapping[str, Aim]
    inputs: Mapping[str, Input]
    left_out: Mapping[str, str]
    key: Key
    split: Mapping[str, object]
    lengths: Lengths | None
    notes: Sequence[str]

    @property
    def smallest_class(self) -> int | None:
        """Rows of the rarest class of all targets; None where there are no classes."""
        return min((aim.smallest[1] for aim in self.aims.values() if aim.smallest), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the decisions as plain values."""
        return {
            "files": [str(path) for path in self.table.files],
            "rows": self.table.total,
            "rows_read": self.table.rows,
            "null_values": self.table.null_values,
            "tasks": {
                aim.task: {"column": aim.column, "kind": aim.kind, "rows": aim.rows, "says": aim.says, "why": aim.why}
                for aim in self.aims.values()
            },
            "columns": {name: {"kind": each.kind, "says": each.says} for name, each in self.inputs.items()},
            "left_out": dict(self.left_out),
            "key": self.key.columns,
            "split": dict(self.split),
            "notes": list(self.notes),
        }


def draft(files: Sequence[Path], wishes: Wishes) -> Draft:
    """Look at the files and decide.

    Raises:
        ParamsError: The files, or a wish, cannot be used; says which and what to do.
        EnvironmentFault: A file may not be read.
    """
    try:
        return _draft(files, wishes)
    except DataError as fault:  # a word on the command line named the file, and nothing was refused by a stage
        raise ParamsError(str(fault)) from fault


def _draft(files: Sequence[Path], wishes: Wishes) -> Draft:
    table = read_files(files)
    if not wishes.targets:
        raise ParamsError(
            f"init: name what to predict, each by --target COLUMN; {files[0].name} holds {', '.join(table.names[:30])}"
            f"{', ...' if len(table.names) > 30 else ''}"
        )
    asked = read_asked(wishes.targets, table)
    wishes = wishes._replace(ignored=[name for word in wishes.ignored for name in _names(word, table)])
    key_asked = [name for word in wishes.key for name in _names(word, table)]
    for option, names in (("--key", key_asked), ("--ignore", wishes.ignored), ("--time", [wishes.time or ""])):
        _refuse_unknown(option, [name for name in names if name], table)
    table, aims = settle(asked, table)
    _refuse_double(wishes, key_asked, aims)
    key = find_key(table, key_asked, aims)
    split, lengths = split_of(table, wishes.time)
    inputs = choose(table, aims, key.columns, wishes.ignored)
    if not inputs.chosen:
        raise ParamsError(f"{files[0]}: no column is left to predict from: {_reasons(inputs.left_out)}")
    notes = [*inputs.notes, *_notes(table, aims, key, split, inputs.chosen)]
    name = _model_name(wishes.name, files)
    return Draft(name, table, aims, inputs.chosen, inputs.left_out, key, split, lengths, notes)


def _names(word: str, table: Table) -> list[str]:
    """Return the columns of a `--key` or `--ignore`: one, or several with commas between."""
    return [word] if word in table.names else [part.strip() for part in word.split(",")]


def _refuse_unknown(option: str, names: Sequence[str], table: Table) -> None:
    for name in names:
        if name not in table.names:
            hint = did_you_mean(name, table.names) or f"; there are {', '.join(table.names[:12])}"
            raise ParamsError(f"{option} {name}: no such column{hint}")


def _refuse_double(wishes: Wishes, key: Sequence[str], aims: Mapping[str, Aim]) -> None:
    others = [("--key", key), ("--ignore", wishes.ignored), ("--time", [wishes.time])]
    for option, names in others:
        for name in names:
            if name in aims:
                raise ParamsError(f"{option} {name}: is a target already; it is one or the other")


def _reasons(left_out: Mapping[str, str]) -> str:
    told = [f"{name} ({reason})" for name, reason in list(left_out.items())[:4]]
    return "; ".join(told) or "there are only targets; give the file the columns that are known beforehand"


def _model_name(asked: str | None, files: Sequence[Path]) -> str:
    if asked is not None:
        if not MODEL_NAME.fullmatch(asked):
            raise ParamsError(f"--name {asked!r}: a model's name is up to 64 letters, digits, '_', '.' or '-'")
        return asked
    stems = [path.name.partition(".")[0] for path in files]
    # The words that all begin with: of visits-2013-01 and visits-2013-02 `visits`.
    words = zip(*(re.split(r"[\W\d_]+", stem) for stem in stems), strict=False)
    common = "-".join(each[0] for each in takewhile(lambda each: len(set(each)) == 1, words)).strip("-")
    name = common if len(stems) > 1 and common else stems[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "model"


def _notes(
    table: Table, aims: Mapping[str, Aim], key: Key, split: Mapping[str, object], inputs: Mapping[str, Input]
) -> list[str]:
    notes = []
    if len(aims) == 1:
        notes.append("one target: there is nothing to share; a second --target makes a verdict possible")
    for aim in aims.values():
        if aim.smallest and aim.smallest[1] < FEW_OF_CLASS:
            word, rows = aim.smallest
            notes.append(
                f"{aim.task}: only {rows} row{'s' if rows > 1 else ''} of {shown(word)!r}; too few to learn "
                f"or to judge, and where none falls among the training rows the run stops"
            )
    if table.null_values != [""]:
        words = ", ".join(map(repr, table.null_values[1:]))
        notes.append(f"{words} counts as no value in every column: data.null_values")
    if split["kind"] == "time":
        notes.append(
            "rows that come later only judge; how a retraining learns from them stands at split in params.yaml"
        )
    moments = list(near_moments(table, inputs))
    if split["kind"] == "random" and moments:
        notes.append(f"{moments[0]} holds moments: to judge by later rows, as in use, add --time '{moments[0]}'")
    if split["kind"] == "random" and len(key.columns) > 1:
        first = key.columns[0]
        notes.append(
            f"rows of one {first} fall on both sides; to judge by new ones write "
            f"split: {{kind: group, columns: [{first}], validation: 0.15, test: 0.15}}"
        )
    return notes
