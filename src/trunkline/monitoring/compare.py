"""New rows against the training rows: every distance with its limit, what chance shows, and how severe it is.

A value counts as drift only where it exceeds the limit by more than samples of these sizes from one source show by
chance: few rows make every distance larger. Of a thousand reports without drift, one has an alarm by chance. Rows that
stand or fall together, as flights in the same weather do, vary more than chance says: that is what limits are for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from trunkline.chance import numpy_stream
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.distances import Array, Distance, by_chance, jensen_shannon, l_infinity, psi
from trunkline.monitoring.profiles import Numbers, Profile, Tally, Words

FALSE_ALARMS = 0.001  # of all comparisons of one report together
EXAMPLES = 5  # unseen words that are named

Named = Mapping[tuple[str, str], Any]
"""By what it is of ("column", "prediction" or "label") and the column's or task's name."""


class Measure(NamedTuple):
    """One distance of one column, prediction or label.

    Attributes:
        name: The setting of `drift` that limits it.
        value: The distance.
        before: Training rows by cell.
        now: New rows by cell.
        distance: What was computed of the two; None for the share of unseen words.
    """

    name: str
    value: float
    before: Array
    now: Array
    distance: Distance | None


def compare(profiles: Named, tallies: Named, watch: DriftWatch, seed: int) -> list[dict[str, Any]]:
    """Return what became of every column, prediction and label, the most severe first.

    Args:
        profiles: Of the training rows.
        tallies: Of the new rows; what lacks, such as a label that is not known yet, is left out.
        watch: The limits.
        seed: The project's seed.

    Returns:
        Per entry "of", "name", "rows" (new ones with a value), "measures" (by name "value", "limit", "chance" and
        "drifted"), "severity" (the largest value, 1 = at its limit with what chance adds), "drifted", "allowed", and of
        words "unseen_words". "chance" is null where the value lies within its limit.
    """
    measured = {
        key: list(_measures(profile, tallies[key])) for key, profile in profiles.items() if _counted(tallies.get(key))
    }
    alarms = FALSE_ALARMS / max(1, sum(len(measures) for measures in measured.values()))
    found = []
    for (of, name), measures in measured.items():
        stream = numpy_stream(seed, "drift", of, name)
        judged = {each.name: _judge(each, getattr(watch, each.name), alarms, stream) for each in measures}
        profile, now = profiles[of, name], tallies[of, name]
        words = profile.unseen(now).most_common() if isinstance(profile, Words) else []
        named = sorted(words, key=lambda item: (-item[1], item[0]))[:EXAMPLES]
        found.append(
            {
                "of": of,
                "name": name,
                "rows": now.known,
                "severity": max(each["value"] / _bar(name, each) for name, each in judged.items()),
                "drifted": name not in watch.allow and any(each["drifted"] for each in judged.values()),
                "allowed": name in watch.allow,
                "measures": judged,
                **({"unseen_words": [word for word, _ in named]} if named else {}),
            }
        )
    return sorted(found, key=lambda entry: (-entry["severity"], entry["of"], entry["name"]))


def _counted(now: Tally | None) -> bool:
    return now is not None and now.known + now.missing > 0


def _measures(profile: Profile, now: Tally) -> Iterator[Measure]:
    """Yield every measure that both sides have rows for."""
    before, after = profile.cells(now)
    filled = np.array([before.sum(), profile.missing]), np.array([now.known, now.missing])
    yield _measure("missing", *filled, l_infinity)
    if not before.sum() or not now.known:
        return
    if isinstance(profile, Numbers):
        yield _measure("psi", before, after, psi)
    else:
        yield _measure("l_infinity", before, after, l_infinity)
        if profile.once is not None:
            new = profile.unseen(now).total()
            # Training words that one row held tell how often a row brings a new word (Good and Turing 1953).
            once = np.array([before.sum(), max(profile.once, 1)])
            yield Measure("unseen", new / now.known, once, np.array([now.known, new]), None)
    yield _measure("jensen_shannon", before, after, jensen_shannon)


def _measure(name: str, before: Array, now: Array, distance: Distance) -> Measure:
    return Measure(name, float(distance(before, now)), before, now, distance)


def _judge(measure: Measure, limit: float, alarms: float, stream: np.random.Generator) -> dict[str, Any]:
    chance = _chance(measure, alarms, stream) if measure.value > limit else None
    judged = {"value": measure.value, "limit": limit, "chance": chance}
    return judged | {"drifted": measure.value > _bar(measure.name, judged)}


def _bar(name: str, judged: Mapping[str, Any]) -> float:
    """Return what a value must exceed: the limit and what chance adds to it.

    The squares of Jensen-Shannon distances add up, as the other measures do.
    """
    limit, chance = float(judged["limit"]), float(judged["chance"] or 0.0)
    return math.hypot(limit, chance) if name == "jensen_shannon" else limit + chance


def _chance(measure: Measure, alarms: float, stream: np.random.Generator) -> float:
    if measure.distance is not None:
        return by_chance(measure.distance, measure.before, measure.now, alarms, stream)
    from scipy import stats

    rows = measure.now[0]
    return float(stats.binom.isf(alarms, rows, measure.before[1] / measure.before[0]) / rows)


def said(entry: Mapping[str, Any]) -> str:
    """Say in one line what drifted and how far.

    Example:
        >>> measures = {"psi": {"value": 2.5, "limit": 1.0, "chance": 0.1, "drifted": True}}
        >>> said({"of": "column", "name": "temp", "rows": 900, "measures": measures})
        "column 'temp' drifted: psi 2.5, accepted 1"
    """
    worst = {name: each for name, each in entry["measures"].items() if each["drifted"]}
    parts = [f"{name} {each['value']:.3g}, accepted {each['limit']:g}" for name, each in worst.items()]
    new = entry.get("unseen_words") if "unseen" in worst else None
    words = f" (new: {', '.join(map(repr, new))})" if new else ""
    return f"{entry['of']} '{entry['name']}' drifted: {'; '.join(parts)}{words}"
