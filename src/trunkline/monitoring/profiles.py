"""What is kept of a column, a prediction or a label of the training rows, so that new rows can be held against it.

    Numbers   rows per bin; bins hold about a tenth of the training rows each
    Words     rows per word, the commonest by name

A profile is small, plain JSON and knows nothing of any single row. It counts new rows piece by piece into a `Tally`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]

BINS = 10
FEWEST_BINS = 4  # of the values beside the heavy ones
MOST_WORDS = 500  # that a profile names; rarer ones are counted together
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Numbers:
    """Numbers of the training rows.

    Attributes:
        edges: Ascending ends of the bins; bin i holds what lies above edge i - 1, up to and with edge i.
        counts: Training rows in each bin; one more than edges.
        missing: Training rows without a finite value.
        quantiles: 5, 25, 50, 75 and 95 % quantile of the training rows; empty where none has a value.
    """

    edges: list[float]
    counts: list[int]
    missing: int
    quantiles: list[float]
    kind: Literal["numbers"] = "numbers"

    @classmethod
    def of(cls, values: Array) -> Numbers:
        """Return the profile of values, float [rows]; what is not finite is missing."""
        known = np.sort(values[np.isfinite(values)].astype(np.float64))
        edges = bin_edges(known)
        quantiles = np.quantile(known, QUANTILES).tolist() if len(known) else []
        return cls(edges.tolist(), _count(known, edges).tolist(), len(values) - len(known), quantiles)

    def count(self, values: Array) -> Tally:
        """Return new rows by bin, float [rows]."""
        known = values[np.isfinite(values)].astype(np.float64)
        counts = _count(known, np.array(self.edges))
        cells = {place: int(rows) for place, rows in enumerate(counts) if rows}
        return Tally(Counter(cells), len(values) - len(known))

    def cells(self, now: Tally) -> tuple[Array, Array]:
        """Return training and new rows by bin, int64 [bins] each."""
        return np.array(self.counts), np.array([now.counts[place] for place in range(len(self.counts))])


@dataclass(frozen=True)
class Words:
    """Words of the training rows.

    Attributes:
        counts: Training rows by word, commonest first; at most 500 words.
        others: Training rows of all other words.
        once: Words that one training row holds, or None where not every word has a name here.
        missing: Training rows without a word.
    """

    counts: dict[str, int]
    others: int
    once: int | None
    missing: int
    kind: Literal["words"] = "words"

    @classmethod
    def of(cls, values: Array) -> Words:
        """Return the profile of words, str objects [rows]; "" is missing."""
        counts = Counter(values.tolist())
        missing = counts.pop("", 0)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        named, rest = dict(ordered[:MOST_WORDS]), ordered[MOST_WORDS:]
        once = None if rest else sum(rows == 1 for rows in named.values())
        return cls(named, sum(rows for _, rows in rest), once, missing)

    def count(self, values: Array) -> Tally:
        """Return new rows by word, str objects [rows]."""
        counts = Counter(values.tolist())
        return Tally(counts, counts.pop("", 0))

    def cells(self, now: Tally) -> tuple[Array, Array]:
        """Return training and new rows by word, then those of all other words, int64 [words + 1] each."""
        of_words = [now.counts[word] for word in self.counts]
        return np.array([*self.counts.values(), self.others]), np.array([*of_words, now.known - sum(of_words)])

    def unseen(self, now: Tally) -> Counter[str]:
        """Return new rows by word that no training row held; empty where not every word of training has a name."""
        if self.once is None:
            return Counter()
        return Counter({word: rows for word, rows in now.counts.items() if word not in self.counts})


Profile = Numbers | Words


@dataclass(frozen=True)
class Tally:
    """New rows counted by the bins or the words of a profile.

    Attributes:
        counts: Rows by place of the bin, or by word.
        missing: Rows without a value.
    """

    counts: Counter[Any]
    missing: int

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.counts.total()

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.counts + other.counts, self.missing + other.missing)


def bin_edges(values: Array) -> Array:
    """Return the ends of bins that hold about a tenth of the values each, float64 [bins - 1].

    A value that a tenth of the rows or more hold has a bin of its own, so that ties and constants are exact; the
    others are cut into equally filled bins. A constant has three bins: below, itself, above.

    Args:
        values: Finite and ascending, float64 [rows].

    Example:
        >>> bin_edges(np.array([7.0, 7.0, 7.0])).tolist() == [np.nextafter(7.0, -np.inf), 7.0]
        True
        >>> bin_edges(np.arange(1.0, 101.0)).tolist()
        [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
    """
    if not len(values):
        return np.empty(0)
    found, rows = np.unique(values, return_counts=True)
    # Of few rows every value is a tenth; a bin of its own needs ten rows, or all of them.
    heavy = found[(rows >= max(len(values) / BINS, BINS)) | (rows == len(values))]
    light = values[~np.isin(values, heavy)]
    edges = [np.nextafter(heavy, -np.inf), heavy]
    if len(light):
        bins = max(FEWEST_BINS, round(BINS * len(light) / len(values)))
        edges.append(np.quantile(light, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.unique(np.concatenate(edges))


def _count(values: Array, edges: Array) -> Array:
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def to_json(profile: Profile) -> dict[str, Any]:
    """Return a profile as plain JSON."""
    return asdict(profile)


def from_json(content: Mapping[str, Any]) -> Profile:
    """Return the profile that `to_json` wrote."""
    fields = {name: value for name, value in content.items() if name != "kind"}
    return Numbers(**fields) if content["kind"] == "numbers" else Words(**fields)
