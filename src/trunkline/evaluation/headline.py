"""What sharing did to the tasks, in the one or two sentences that a reader takes along."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.evaluation.wording import interval, known, percent, score, signed, tendency

Judged = Mapping[str, Mapping[str, Any]]
"""`tasks` of reports/evaluation.json, or the `transfer` of each."""

FEW_TASKS = 8
NAMES_OF_FEW, NAMES_OF_MANY = 5, 2  # names before the rest is counted, where there are few tasks or many
MOST = 0.5  # share of the average from which on one task makes up most of it


def headline(tasks: Judged, auxiliary: int = 0) -> str:
    """Say in plain words what sharing did.

    Args:
        tasks: `tasks` of reports/evaluation.json.
        auxiliary: How many more were trained along, without being judged.

    Example:
        >>> headline({"a": {"transfer": {"gain": 0.1, "interval": None, "verdict": "inconclusive", "seeds": 1}}})
        'One model for 1 task. With a single task there is nothing to share: both sides follow the same recipe.'
    """
    if len(tasks) == 1 and not auxiliary:
        return "One model for 1 task. With a single task there is nothing to share: both sides follow the same recipe."
    transfers = {name: task["transfer"] for name, task in tasks.items()}
    judged = any(transfer["interval"] is not None for transfer in transfers.values())
    along = f", trained along with {auxiliary} auxiliary" if auxiliary else ""
    number = f"{len(tasks)} task{'s' if len(tasks) > 1 else ''}{along}"
    return f"One shared model for {number}. {_verdicts(transfers) if judged else _tendencies(transfers)}"


def _verdicts(transfers: Judged) -> str:
    verdicts = {name: transfer["verdict"] for name, transfer in transfers.items()}
    said = _counted(verdicts, {"helped": "helped", "hurt": "hurt", "equivalent": "made no difference to"})
    unsaid = _counted(verdicts, {"inconclusive": "for"})
    if not said:
        return f"Nothing can be said for certain about any of them: {_by_score(transfers)}."
    doubt = f"; {unsaid[0]} nothing can be said for certain" if unsaid else ""
    return f"Sharing {_joined(said)}{doubt}."


def _tendencies(transfers: Judged) -> str:
    fewest = min(transfer["seeds"] for transfer in transfers.values())
    behind = "one training per side" if fewest == 1 else f"{fewest} trainings per side and no interval"
    return f"With {behind} nothing can be said for certain: {_by_score(transfers)}."


def _by_score(transfers: Judged) -> str:
    """Return on how many tasks the shared model scores better, worse and the same."""
    words = {name: tendency(transfer["gain"]).word for name, transfer in transfers.items()}
    parts = _counted(words, {"better": "better on", "worse": "worse on", "same": "the same on"})
    return f"the shared model scores {_joined(parts)}" if parts else "no task has a score on both sides"


def _counted(words: Mapping[str, str], phrases: Mapping[str, str]) -> list[str]:
    """Return, for each word that a task has, its phrase with the number and names of those tasks."""
    names = {word: [name for name, found in words.items() if found == word] for word in phrases}
    most = NAMES_OF_FEW if len(words) <= FEW_TASKS else NAMES_OF_MANY
    return [f"{phrases[word]} {len(held)} ({_listed(held, most)})" for word, held in names.items() if held]


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def average(tasks: Judged, composite: Mapping[str, Any]) -> str:
    """Say what sharing did on average over the tasks, and to which task the least.

    Args:
        tasks: `tasks` of reports/evaluation.json.
        composite: Its `composite`.
    """
    if not known(composite["delta_m_percent"]):
        return "The average over tasks cannot be computed, because a task has no score to compare."
    ends = composite["interval"]
    within = f" (interval {percent(ends[0])} to {percent(ends[1])})" if ends else ""
    worst = composite["worst_task"]
    far = interval(composite.get("worst_interval"), signed)
    said = f"{signed(composite['worst_gain'])} {tasks[worst]['primary']}{f' (interval {far})' if far else ''}"
    lowest = f" The lowest gain is that of {worst}: {said}."
    change = f"{percent(composite['delta_m_percent'])} of the score alone{within}"
    return f"On average over tasks sharing changes the score by {change}.{_dominance(tasks)}{lowest}"


def _dominance(tasks: Judged) -> str:
    """Say where the average is mostly one task's, as happens where its score alone is near 0."""
    percents = {name: task["transfer"]["gain_percent"] for name, task in tasks.items()}
    gains = {name: abs(gain) for name, gain in percents.items() if known(gain)}
    largest = max(gains, key=lambda name: gains[name])
    if len(gains) < 3 or gains[largest] <= MOST * math.fsum(gains.values()):
        return ""
    task = tasks[largest]
    alone = score(task["alone"][task["primary"]])
    return f" Most of that comes from {largest} ({percent(task['transfer']['gain_percent'])}, where alone is {alone})."


def _listed(names: Sequence[str], most: int) -> str:
    """Return names with commas, those after the first `most` counted.

    Example:
        >>> _listed(["a", "b"], 3), _listed(["a", "b", "c", "d", "e"], 3)
        ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
