"""Leaks: an input that gives a label away, by being missing or by its value.

in      one input at a time and all targets, each as codes
out     the leaks to refuse, and the strongest hint that the input's value gives of any target

Three tests, each of one input alone against one target:
missing  the rows without a value (or those with one) nearly all have one class that is rare among the others; looked
         for in the whole table and in each group that another input's words form
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
    hints = [hint for target in targets for hint in _hints(name, coded, target)]
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
    return leaks.auc if hint.how == "ROC AUC" else leaks.correlation


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
        for side, how in ((1, "missing"), (0, "known")):
            if pure := _purest(counts[:, side], counts[:, 1 - side], leaks):
                where = f"{how} and '{by}' is '{group.values[pure.group]}'" if by else how
                yield Leak(name, target.name, f"{how} values", pure.rows, _said(name, where, target, pure))


def _cross(group: Coded, missing: Array, target: Target) -> Array:
    """Return the rows of each group, without (0) and with (1) the value missing, of each class."""
    shape = (len(group.values) + 1, 2, len(target.words) + 1)
    # Rows without group or label fall into the first place of their axis.
    cell = ((group.codes + 1) * 2 + missing) * shape[2] + target.coded.codes + 1
    return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)[1:, :, 1:]


def _purest(here: Array, there: Array, leaks: Leaks) -> _Pure | None:
    """Find the largest group whose rows here are nearly all of a class that is rare among its rows there."""
    rows, others = here.sum(axis=1, keepdims=True), there.sum(axis=1, keepdims=True)
    share, elsewhere = here / np.maximum(rows, 1), there / np.maximum(others, 1)
    enough = np.minimum(rows, others) >= leaks.min_rows
    pure = enough & (share >= leaks.purity) & (elsewhere < leaks.purity / 2)
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


def _hints(name: str, coded: Coded, target: Target) -> Iterator[Hint]:
    known = (coded.codes >= 0) & (target.coded.codes >= 0)
    codes, labels = coded.codes[known], target.coded.codes[known]
    halves = _halves(known)
    if not len(codes):
        return
    for label in _labellings(labels, target):
        if coded.ordered:
            yield from _hint(name, target, codes, label)
        if not coded.ordered or len(coded.values) <= MOST_WORDS:
            yield from _hint(name, target, _by_mean_label(codes, label, halves)[~halves], label[~halves])


def _labellings(labels: Array, target: Target) -> list[Array]:
    """Return what the values may order: the ranks of a number, or each class against the others."""
    if not target.words:
        return [_ranks(labels)]
    # Of two classes one says it all.
    told = range(1, 2) if len(target.words) == 2 else range(len(target.words))
    return [labels == place for place in told]


def _hint(name: str, target: Target, codes: Array, label: Array) -> Iterator[Hint]:
    if not target.words:
        yield Hint(name, target.name, "rank correlation", abs(_correlation(_ranks(codes), label)), len(codes))
    elif min(int(label.sum()), int((~label).sum())) >= FEWEST_OF_CLASS:
        area = _area(codes, label)
        yield Hint(name, target.name, "ROC AUC", max(area, 1 - area), len(codes))


def _halves(known: Array) -> Array:
    """Return True for half of the known rows, by a fixed hash of a row's place."""
    place = np.flatnonzero(known).astype(np.uint64)
    mixed: Array = place * np.uint64(0x9E3779B97F4A7C15)
    return mixed >= np.uint64(1 << 63)


def _by_mean_label(codes: Array, label: Array, learned: Array) -> Array:
    """Return codes in the order of their mean label in the `learned` rows; words unknown there take the mean."""
    size = int(codes.max()) + 1
    rows = np.bincount(codes[learned], minlength=size)
    total = np.bincount(codes[learned], label[learned], minlength=size)
    mean = (total + label.mean()) / (rows + 1)
    return np.unique(mean, return_inverse=True)[1][codes]


def _area(codes: Array, label: Array) -> float:
    """ROC AUC of ordered codes: the chance that a row of the class has a higher code than another, ties half."""
    yes, no = (
        np.bincount(codes[label], minlength=codes.max() + 1),
        np.bincount(codes[~label], minlength=codes.max() + 1),
    )
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))


def _ranks(codes: Array) -> Array:
    """Return the rank of each row's code, ties in the middle."""
    rows = np.bincount(codes)
    return (np.cumsum(rows) - (rows - 1) / 2)[codes]


def _correlation(one: Array, other: Array) -> float:
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _by_value(hint: Hint, coded: Coded, target: Target) -> Leak:
    known = (coded.codes >= 0) & (target.coded.codes >= 0)
    mine, theirs = (
        np.asarray(coded.values)[coded.codes[known]],
        np.asarray(target.coded.values)[target.coded.codes[known]],
    )
    told = f"its value alone tells '{hint.target}' ({hint.how} {hint.score:.4f} over {words.count(hint.rows)})"
    equal = mine.dtype.kind == theirs.dtype.kind and np.array_equal(mine, theirs)
    said = f"it holds the same values as target '{hint.target}' ({words.count(len(mine))})" if equal else told
    return Leak(hint.input, hint.target, "values", hint.rows, f"input '{hint.input}': {said}")
