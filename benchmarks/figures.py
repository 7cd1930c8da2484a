"""The rows of the table, the goals, and which of them were met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.measure import Spent

BATCHES = (1024, 8192)
BULKS = (1000, 4096)


class Measured(NamedTuple):
    """A figure. Where it could not be measured, `value` is None and `why` says the reason."""

    value: float | None
    """What the goal is about: by CPU seconds, where it is about time."""

    wall: float | None = None
    """The same by the clock."""

    why: str = ""

    @classmethod
    def of(cls, spent: Spent, unit: float = 1.0) -> Measured:
        """Return a figure about time, in multiples of `unit`."""
        return cls(spent.cpu / unit, spent.wall / unit)


class Goal(NamedTuple):
    """A bound on a figure."""

    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        """Whether `value` lies on the right side."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(bound: float) -> Goal:
    return Goal(bound, at_least=True)


def at_most(bound: float) -> Goal:
    return Goal(bound, at_least=False)


class Row(NamedTuple):
    """One row of the table."""

    key: str
    section: str
    what: str
    unit: str
    goal: Goal | None = None


@dataclass(frozen=True)
class Judged:
    """A row with its figure."""

    row: Row
    figure: Measured

    @property
    def verdict(self) -> str:
        """met, missed, not measured, or nothing where there is no goal."""
        if self.figure.value is None:
            return "not measured"
        if self.row.goal is None:
            return ""
        return "met" if self.row.goal.is_met(self.figure.value) else "missed"


def table_rows(tasks: int) -> list[Row]:
    """Return every row of the table, in order.

    Args:
        tasks: Number of tasks; one shared model takes the place of as many alone ones.
    """
    return [*_training(), *_serving(tasks), *_scoring(), *_orchestration()]


def with_goals(rows: Iterable[Row], goals: Mapping[str, Goal]) -> list[Row]:
    """Return the rows with some goals replaced, by key."""
    return [row._replace(goal=goals.get(row.key, row.goal)) for row in rows]


def judge(rows: Iterable[Row], figures: Mapping[str, Measured]) -> list[Judged]:
    """Put each figure into its row.

    Raises:
        KeyError: A row has no figure.
    """
    return [Judged(row, figures[row.key]) for row in rows]


def exit_code(judged: Iterable[Judged]) -> int:
    """Return 1 where a goal was missed, else 0. What could not be measured is no miss."""
    return int(any(each.verdict == "missed" for each in judged))


def _training() -> Iterator[Row]:
    section = "Training, one thread"
    for batch, over_loader in zip(BATCHES, (1.3, 1.6), strict=True):
        sized, key = f"batch {batch:,}", f"training.{batch}"
        yield Row(f"{key}.rows", section, f"rows per CPU second, {sized}", "rows/s")
        yield Row(f"{key}.bare", section, f"our loop over a bare tensor loop, {sized}", "x", at_least(0.9))
        yield Row(f"{key}.loader", section, f"our loop over a DataLoader, {sized}", "x", at_least(over_loader))
    together = "all seeds of two arms together, over a process per seed"
    yield Row("seeds.together", section, together, "x", at_most(0.85))
    yield Row("training.growth", section, "growth of memory from epoch 2 to the last", "%", at_most(2.0))


def _serving(tasks: int) -> Iterator[Row]:
    section = "The exported file, raw rows in, one thread"
    yield Row("serving.row", section, "one row, in the session", "ms", at_most(0.2))
    yield Row("serving.row.torch", section, "one row, over torch eager", "x")
    for rows in BULKS:
        sized, key = f"{rows:,} rows", f"serving.{rows}"
        alone = f"{sized}, over the files of {tasks} alone models"
        yield Row(f"{key}.rate", section, f"{sized}, in the session", "rows/s")
        yield Row(f"{key}.torch", section, f"{sized}, over torch eager", "x")
        yield Row(f"{key}.alone", section, alone, "x", at_least(0.8 * tasks))


def _scoring() -> Iterator[Row]:
    section = "`trunkline predict`, Parquet to Parquet"
    yield Row("predict.rate", section, "rows per CPU second, start included", "rows/s", at_least(150_000))
    yield Row("predict.peak", section, "peak memory", "MiB", at_most(300))


def _orchestration() -> Iterator[Row]:
    section = "Commands with nothing to do"
    yield Row("orchestration.run", section, "`trunkline run`", "s", at_most(3))
    yield Row("orchestration.dvc", section, "`dvc repro`", "s", at_most(3))
    yield Row("orchestration.help", section, "`trunkline --help`", "s", at_most(0.5))
