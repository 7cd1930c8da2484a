"""Leaks: an input that gives a label away, by being missing or by its value.

in      one input at a time and all targets, each as codes
out     the leaks to refuse, and the strongest hint that the input's value gives of any target

Three tests, each of one input alone against one target:
missing  the rows without a value nearly all have one class that is rare among the others; looked for in the whole
         table and in each group that another input's words form. In the whole table, the same of the rows with a value
value    the order of a number's values is the order of the labels: ROC AUC of a class, rank correlation with a number
word     so is the order of the words' mean labels, learned on one half of the rows and scored on the other
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trunkline.data.declarations import Leaks
from trunkline.data.validate import words

MOST_WORDS = 200  # words of an input that may form groups, and values of a number that are read as words too
FEWEST_OF_CLASS = 10  # rows a class needs for a ROC AUC; chance alone does not bring ten of them near a leak
IDENTIFIER_ROWS, IDENTIFIER_SHARE = 1000, 0.9
AREA, CORRELATION = "ROC AUC", "rank correlation"

Array = np.ndarray[Any, Any]


class Coded(NamedTuple):
    """A column as whole numbers.

    Attributes:
        codes: int64 [rows], the place of the row's value among `values`; -1 = missing.
        values: The different values; those of a number in ascending order.
        ordered: Whether the values are numbers.
    """

    codes: Array
    values: Sequence[Any]
    ordered: bool


class Target(NamedTuple):
    """A task's target as codes; its classes are `words`, by code, or () where it is a number."""

    name: str
    coded: Coded
    words: tuple[str, ...]


class Leak(NamedTuple):
    """An input that gives a label away: how, shown by so many rows, and the sentence that says it."""

    input: str
    target: str
    how: str
    rows: int
    said: str


class Hint(NamedTuple):
    """What one input's value alone tells of a target: a ROC AUC, or the size of a rank correlation."""

    input: str
    target: str
    how: str
    score: float
    rows: int


def look(
    name: str, coded: Coded, targets: Sequence[Target], groups: Mapping[str, Coded], leaks: Leaks
) -> tuple[list[Leak], Hint | None]:
    """Test one input against every target.

    Args:
        name: The input.
        coded: Its values.
        targets: What it must not give away.
        groups: Inputs of few words, in whose groups missing values are looked at as well.
        leaks: What counts as a leak.

    Returns:
        At most one leak for each target, and the strongest hint.
    """
    everywhere = Coded(np.zeros(len(coded.codes), dtype=np.int64), [""], False)
    within = {"": everywhere} | {other: group for other, group in groups.items() if other != name}
    hints = [hint for target in targets for hint in hints_of(name, coded, target)]
    found = [
        _by_value(hint, coded, _named(hint.target, targets)) for hint in hints if hint.score >= _limit(hint, leaks)
    ]
    missing = coded.codes < 0
    if missing.any():
        for target in targets:
            found += _by_missing(name, missing, target, within, leaks) if target.words else []
    first = {leak.target: leak for leak in reversed(found)}
    strongest = max(hints, key=lambda hint: hint.score, default=None)
    return [first[target.name] for target in targets if target.name in first], strongest


def looks_like_identifier(coded: Coded) -> bool:
    """Whether nearly every row has a word of its own, so that nothing learned of one row holds for another."""
    known = int((coded.codes >= 0).sum())
    return not coded.ordered and known >= IDENTIFIER_ROWS and len(coded.values) > IDENTIFIER_SHARE * known


def _named(name: str, targets: Sequence[Target]) -> Target:
    return next(target for target in targets if target.name == name)


def _limit(hint: Hint, leaks: Leaks) -> float:
    return leaks.auc if hint.how == AREA else leaks.correlation


# --- missing ----------------------------------------------------------------------------------------------


class _Pure(NamedTuple):
    group: int
    word: int
    rows: int
    share: float
    elsewhere: float


def _by_missing(name: str, missing: Array, target: Target, within: Mapping[str, Coded], leaks: Leaks) -> Iterator[Leak]:
    for by, group in within.items():
        counts = _cross(group, missing, target)
        every = np.ones(counts.shape[2], dtype=bool)
        if pure := _purest(counts[:, 1], counts[:, 0], every, leaks):
            where = f"missing and '{by}' is '{group.values[pure.group]}'" if by else "missing"
            yield Leak(name, target.name, "missing values", pure.rows, _said(name, where, target, pure))
        # A class of most rows is that of most rows with a value, too, and says nothing.
        minority = counts.sum(axis=(0, 1)) * 2 < counts.sum()
        if not by and (pure := _purest(counts[:, 0], counts[:, 1], minority, leaks)):
            yield Leak(name, target.name, "known values", pure.rows, _said(name, "known", target, pure))


def _cross(group: Coded, missing: Array, target: Target) -> Array:
    """Return the rows of each group, with (0) and without (1) the value, of each class."""
    shape = (len(group.values) + 1, 2, len(target.words) + 1)
    # Rows without group or label fall into the first place of their axis.
    cell = ((group.codes + 1) * 2 + missing) * shape[2] + target.coded.codes + 1
    return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)[1:, :, 1:]


def _purest(here: Array, there: Array, among: Array, leaks: Leaks) -> _Pure | None:
    """Find the largest group whose rows here are nearly all of one class (of those in `among`), rare among those there.

    Args:
        here: Rows of each group and class on one side.
        there: The same on the other side.
        among: True for each class to look at.
        leaks: What counts as nearly all, and how many rows must show it.
    """
    rows, others = here.sum(axis=1, keepdims=True), there.sum(axis=1, keepdims=True)
    share, elsewhere = here / np.maximum(rows, 1), there / np.maximum(others, 1)
    enough = np.minimum(rows, others) >= leaks.min_rows
    pure = enough & among & (share >= leaks.purity) & (elsewhere < leaks.purity / 2)
    if not pure.any():
        return None
    group, word = np.unravel_index(int(np.argmax(np.where(pure, rows, 0))), pure.shape)
    at = (int(group), int(word))
    return _Pure(*at, int(rows[group, 0]), float(share[at]), float(elsewhere[at]))


def _said(name: str, where: str, target: Target, pure: _Pure) -> str:
    word = target.words[pure.word]
    return (
        f"input '{name}': where it is {where} ({words.count(pure.rows)}), '{target.name}' is {word} in "
        f"{words.percent(pure.share)} of rows ({words.percent(pure.elsewhere)} elsewhere); "
        f"whether it is known depends on the answer"
    )


# --- value ------------------------------------------------------------------------------------------------


def hints_of(name: str, coded: Coded, target: Target) -> Iterator[Hint]:
    """Yield what one input's values tell of a target."""
    hints = _hints_of_class if target.words else _hints_of_number
    for score, rows in hints(coded, target.coded, len(target.words)):
        yield Hint(name, target.name, AREA if target.words else CORRELATION, score, rows)


def _read_as_words(coded: Coded) -> bool:
    return not coded.ordered or len(coded.values) <= MOST_WORDS


def _hints_of_class(coded: Coded, label: Coded, classes: int) -> Iterator[tuple[float, int]]:
    """Yield how well the values order each class against the others, and the rows that show it."""
    shape = (2, len(coded.values) + 1, classes + 1)
    cell = (_halves(len(coded.codes)) * shape[1] + coded.codes + 1) * shape[2] + label.codes + 1
    scored, learned = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)[:, 1:, 1:]
    # Of two classes one says it all.
    for word in range(1, 2) if classes == 2 else range(classes):
        if coded.ordered:
            yield from _area(scored + learned, word)
        if _read_as_words(coded):
            mean = (learned[:, word] + learned[:, word].sum() / max(learned.sum(), 1)) / (learned.sum(axis=1) + 1)
            levels, place = np.unique(mean, return_inverse=True)
            merged = np.zeros((len(levels), classes), dtype=np.int64)
            np.add.at(merged, place, scored)
            yield from _area(merged, word)


def _area(counts: Array, word: int) -> Iterator[tuple[float, int]]:
    """Yield the ROC AUC of ordered values for one class, from the rows of each value and class; ties count half.

    An order that is upside down tells as much as the right one, so the area is at least one half.
    """
    yes, no = counts[:, word], counts.sum(axis=1) - counts[:, word]
    if min(yes.sum(), no.sum()) >= FEWEST_OF_CLASS:
        area = float((yes * (np.cumsum(no) - no / 2)).sum() / (yes.sum() * no.sum()))
        yield max(area, 1 - area), int(counts.sum())


def _hints_of_number(coded: Coded, label: Coded, classes: int) -> Iterator[tuple[float, int]]:
    """Yield how well the values order the labels, and the rows that show it."""
    known = (coded.codes >= 0) & (label.codes >= 0)
    codes, ranks, learned = coded.codes[known], _ranks(label.codes[known]), _halves(len(known))[known]
    if coded.ordered:
        yield _correlation(_ranks(codes), ranks), len(codes)
    if _read_as_words(coded):
        size = len(coded.values)
        rows, total = np.bincount(codes[learned], minlength=size), np.bincount(codes[learned], ranks[learned], size)
        mean = (total + len(ranks) / 2) / (rows + 1)
        place = np.unique(mean, return_inverse=True)[1][codes[~learned]]
        yield _correlation(_ranks(place), ranks[~learned]), len(place)


def _halves(rows: int) -> Array:
    """Return True for half of the rows, by a fixed hash of a row's place."""
    mixed: Array = np.arange(rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return mixed >= np.uint64(1 << 63)


def _ranks(codes: Array) -> Array:
    """Return the rank of each row's code, ties in the middle."""
    rows = np.bincount(codes)
    return (np.cumsum(rows) - (rows - 1) / 2)[codes]


def _correlation(one: Array, other: Array) -> float:
    """Return the size of the correlation; 0 where one side is constant or there is no row."""
    if len(one) < 2 or one.min() == one.max() or other.min() == other.max():
        return 0.0
    return abs(float(np.corrcoef(one, other)[0, 1]))


def _by_value(hint: Hint, coded: Coded, target: Target) -> Leak:
    known = (coded.codes >= 0) & (target.coded.codes >= 0)
    mine = np.asarray(coded.values)[coded.codes[known]]
    theirs = np.asarray(target.coded.values)[target.coded.codes[known]]
    told = f"its value alone tells '{hint.target}' ({hint.how} {hint.score:.4f} over {words.count(hint.rows)})"
    equal = mine.dtype.kind == theirs.dtype.kind and np.array_equal(mine, theirs)
    said = f"it holds the same values as target '{hint.target}' ({words.count(len(mine))})" if equal else told
    return Leak(hint.input, hint.target, "values", hint.rows, f"input '{hint.input}': {said}")
