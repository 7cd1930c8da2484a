"""What shall be learned: the targets that a person named, each with a kind that its values allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trunkline.declared import did_you_mean
from trunkline.errors import ParamsError
from trunkline.guess.held import Held
from trunkline.guess.table import Table, without_label_words
from trunkline.guess.words import figure, percent, shown

KINDS = ("binary", "multiclass", "ordinal", "count", "regression")
BY_HAND = ("quantile", "multilabel", "survival")
MOST_CLASSES = 200
MOST_CODES, LARGEST_CODE = 10, 100  # different whole numbers that may be names of classes, and the largest
LARGEST_COUNT = 1000
YES = ("true", "yes", "1")
LABEL_TYPES = {"binary": "truth", "multiclass": "words", "ordinal": "words", "count": "number", "regression": "number"}


class Asked(NamedTuple):
    """A target as a person asked for it; kind and classes where they were given."""

    column: str
    kind: str | None
    classes: list[str]


class Aim(NamedTuple):
    """A task to be.

    Attributes:
        task: Its name.
        column: Where its labels stand.
        kind: Its kind.
        classes: Of an ordinal task, from the lowest to the highest.
        rows: Labelled rows.
        smallest: Its rarest class and that class's rows; None of numbers.
        says: Mean or classes.
        why: Why this kind.
    """

    task: str
    column: str
    kind: str
    classes: list[str]
    rows: int
    smallest: tuple[str, int] | None
    says: str
    why: str


def read_asked(words: Sequence[str], table: Table) -> list[Asked]:
    """Understand `--target` words: COLUMN, COLUMN:KIND or COLUMN:ordinal=LOW,..,HIGH.

    Raises:
        ParamsError: No such column, one that is named twice, or no such kind.
    """
    asked = [_asked(word, table.names) for word in words]
    columns = [each.column for each in asked]
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise ParamsError(f"--target {column}: is there twice; name each column once")
    return asked


def _asked(word: str, names: Sequence[str]) -> Asked:
    if word in names:
        return Asked(word, None, [])
    matches = re.finditer(":", word)
    column = next((word[: at.start()] for at in matches if word[: at.start()] in names), None)
    if column is None:
        wanted = word.partition(":")[0]
        hint = did_you_mean(wanted, names) or f"; there are {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        raise ParamsError(f"--target {word}: no column '{wanted}'{hint}")
    kind, equals, classes = word[len(column) + 1 :].partition("=")
    if kind in BY_HAND:
        raise ParamsError(
            f"--target {word}: {kind} takes settings of its own; name another target now and declare this one in "
            f"params.yaml afterwards, see docs/settings.md"
        )
    if kind not in KINDS:
        raise ParamsError(f"--target {word}: '{kind}' is no kind{did_you_mean(kind, KINDS)}; choose {', '.join(KINDS)}")
    if equals and kind != "ordinal":
        raise ParamsError(f"--target {word}: only an ordinal task takes an order; leave out '={classes}'")
    return Asked(column, kind, [part.strip() for part in classes.split(",")] if equals else [])


def settle(asked: Sequence[Asked], table: Table) -> tuple[Table, dict[str, Aim]]:
    """Return the table as the targets need it read, and a task for each target, by column.

    Raises:
        ParamsError: A target's values allow no task, or not the one that was asked for.
    """
    for each in asked:
        if each.column in table.nested:
            raise ParamsError(
                f"--target {each.column}: holds {table.nested[each.column]}; a target is a number, a word or "
                f"true/false: write it as one of them, or as several columns"
            )
    table = without_label_words(table, [each.column for each in asked])
    aims: dict[str, Aim] = {}
    for each in asked:
        taken = {aim.task for aim in aims.values()}
        aims[each.column] = _aim(each, table.columns[each.column], taken, table.rows)
    return table, aims


def _aim(asked: Asked, held: Held, taken: set[str], rows: int) -> Aim:
    where = f"--target {asked.column}"
    if held.kind == "nothing":
        raise ParamsError(f"{where}: has no value in {rows:,} rows; a target needs labels")
    if held.different == 1:
        raise ParamsError(
            f"{where}: holds only {shown(next(iter(held.counts)))!r} in {held.known:,} rows, so there is nothing to "
            f"learn; add rows with another label"
        )
    if held.misspelled and asked.kind in (None, "count", "regression"):
        raise ParamsError(f"{where}: holds {held.misspelled}; or name a kind, such as {asked.column}:multiclass")
    if held.kind == "moment":
        raise ParamsError(f"{where}: holds moments; a target is a number, a word or true/false")
    kind, why = (asked.kind, "as you said") if asked.kind else _guessed(held, where)
    FITS[kind](asked, held, where)
    counted = kind in ("binary", "multiclass", "ordinal")
    if counted:
        rarest = min(held.counts, key=lambda word: held.counts[word])
        smallest = (rarest, held.counts[rarest])
    return Aim(
        task=task_name(asked.column, taken),
        column=asked.column,
        kind=kind,
        classes=asked.classes,
        rows=held.known,
        smallest=smallest if counted else None,
        says=_says(kind, asked, held),
        why=why,
    )


def _guessed(held: Held, where: str) -> tuple[str, str]:
    """Return the kind that the values suggest, and why."""
    if held.is_truth:
        return "binary", "yes or no"
    if held.kind == "words" or held.different == 2:
        if held.different > MOST_CLASSES:
            raise ParamsError(
                f"{where}: holds {held.different:,} different words, such as {shown(next(iter(held.counts)))!r}; a "
                f"target is true/false, a number, or one of at most {MOST_CLASSES} classes"
            )
        return "multiclass", "two values; written yes/no or 0/1 it is binary" if held.different == 2 else "words"
    if held.kind == "number":
        return "regression", "numbers with fractions"
    if held.low == 0 and held.high <= LARGEST_COUNT and _falls_off(held):
        return "count", "whole numbers from 0, mostly small ones"
    if held.low >= 0 and held.different <= MOST_CODES and held.high <= LARGEST_CODE:
        return "multiclass", "few whole numbers; if ordered, add :ordinal=low,..,high"
    return "regression", "whole numbers"


def _falls_off(held: Held) -> bool:
    """Whether most values are small, as those of counts are; codes and measures are spread out."""
    return float(held.values.median()) * 3 <= held.high  # type: ignore[arg-type]


def _fits_binary(asked: Asked, held: Held, where: str) -> None:
    if not held.is_truth:
        raise ParamsError(
            f"{where}: holds {_examples(held)}; a binary target is true/false, yes/no or 0/1: write it so, or take "
            f"{asked.column}:multiclass"
        )


def _fits_multiclass(asked: Asked, held: Held, where: str) -> None:
    if held.different > MOST_CLASSES:
        raise ParamsError(f"{where}: holds {held.different:,} different values; take regression, or a coarser column")


def _fits_ordinal(asked: Asked, held: Held, where: str) -> None:
    example = f"{asked.column}:ordinal={','.join(sorted(held.counts)[:6])}"
    if not asked.classes:
        raise ParamsError(
            f"{where}: an ordinal target needs its order, which only you know; write --target '{example}', "
            f"rearranged from the lowest to the highest"
        )
    if len(asked.classes) < 3 or len(set(asked.classes)) < len(asked.classes):
        raise ParamsError(f"{where}: ordinal takes three different classes or more, from the lowest to the highest")
    unnamed = [word for word in held.counts if word not in asked.classes]
    if unnamed:
        hint = did_you_mean(unnamed[0], asked.classes)
        raise ParamsError(f"{where}: {held.counts[unnamed[0]]:,} rows hold {unnamed[0]!r}, which the order lacks{hint}")
    absent = [word for word in asked.classes if word not in held.counts]
    if absent:
        raise ParamsError(f"{where}: no row holds {absent[0]!r}{did_you_mean(absent[0], held.counts)}; leave it out")


def _fits_count(asked: Asked, held: Held, where: str) -> None:
    if held.kind != "whole" or held.low < 0:
        raise ParamsError(f"{where}: holds {_examples(held)}; a count is a whole number, 0 or more: take regression")


def _fits_regression(asked: Asked, held: Held, where: str) -> None:
    if held.kind == "words":
        raise ParamsError(f"{where}: holds words such as {_examples(held)}; regression takes numbers: take multiclass")


FITS: dict[str, Callable[[Asked, Held, str], None]] = {
    "binary": _fits_binary,
    "multiclass": _fits_multiclass,
    "ordinal": _fits_ordinal,
    "count": _fits_count,
    "regression": _fits_regression,
}


def _examples(held: Held) -> str:
    words = list(held.counts)
    return ", ".join(repr(shown(word)) for word in words[:3]) + (", ..." if len(words) > 3 else "")


def _says(kind: str, asked: Asked, held: Held) -> str:
    if kind == "binary":
        yes = sum(count for word, count in held.counts.items() if word.lower() in YES)
        return f"{percent(held.mean if held.kind == 'whole' else yes / held.known)} yes"
    if kind == "ordinal":
        return " < ".join(map(shown, asked.classes))
    if kind == "multiclass":
        words = [f"{shown(word)} {percent(count / held.known)}" for word, count in list(held.counts.items())[:3]]
        return f"{held.different} classes: {', '.join(words)}{', ...' if held.different > 3 else ''}"
    return f"mean {figure(held.mean)}, {figure(held.low)} to {figure(held.high)}"


def task_name(column: str, taken: set[str]) -> str:
    """Return a name that a task may have: a letter, then up to 63 letters, digits or _.

    Example:
        >>> task_name("delay (min)", set())
        'delay_min'
        >>> task_name("2nd", {"task_2nd"})
        'task_2nd_2'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_") or "task"
    name = (name if name[0].isalpha() else f"task_{name}")[:60]
    return next(
        found
        for number in range(1, len(taken) + 2)
        if (found := f"{name}_{number}" if number > 1 else name) not in taken
    )
