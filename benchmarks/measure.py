"""Clocks: what a piece of work costs, and how that compares with another piece done in turns with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Spent(NamedTuple):
    """What a piece of work took, or how many times that of another."""

    cpu: float
    """Seconds of CPU time of the whole process."""

    wall: float
    """Seconds by the clock."""


class Stopwatch:
    """Runs from its making, and from each `lap` on."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def lap(self) -> Spent:
        """Return what was spent since the last lap."""
        before = self.cpu, self.wall
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return Spent(self.cpu - before[0], self.wall - before[1])


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Spent]]:
    """Do each work once to warm up, then all of them in turns.

    Returns:
        What each work took in each round.
    """
    for work in works.values():
        work()
    spent: dict[str, list[Spent]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            watch = Stopwatch()
            work()
            spent[name].append(watch.lap())
    return spent


def median(spent: Sequence[Spent]) -> Spent:
    """Return the medians of CPU and of wall seconds.

    Example:
        >>> median([Spent(1.0, 2.0), Spent(3.0, 9.0), Spent(2.0, 4.0)])
        Spent(cpu=2.0, wall=4.0)
    """
    return Spent(statistics.median(each.cpu for each in spent), statistics.median(each.wall for each in spent))


def least(spent: Sequence[Spent]) -> Spent:
    """Return the least of CPU and of wall seconds: what comes nearest to an idle machine, because noise only adds."""
    return Spent(min(each.cpu for each in spent), min(each.wall for each in spent))


def times_faster(one: Sequence[Spent], other: Sequence[Spent]) -> Spent:
    """Return how many times faster `one` is than `other`: the median of the ratios of each round.

    Example:
        >>> times_faster([Spent(1.0, 1.0)], [Spent(2.0, 3.0)])
        Spent(cpu=2.0, wall=3.0)
    """
    return median([Spent(b.cpu / a.cpu, b.wall / a.wall) for a, b in zip(one, other, strict=True)])


def rate(count: float, spent: Sequence[Spent]) -> Spent:
    """Return how many of something were done per CPU second and per second."""
    middle = median(spent)
    return Spent(count / middle.cpu, count / middle.wall)


def apiece(count: float, spent: Sequence[Spent]) -> Spent:
    """Return what one of `count` things took."""
    middle = median(spent)
    return Spent(middle.cpu / count, middle.wall / count)
