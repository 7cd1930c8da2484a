"""Which sampling is sensible, judged by how many rows have labels of which task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trunkline.training.sampling import Sampling

SELDOM = 0.05  # share of the rows labelled for a task, below which the shuffle shows it too seldom
FEW = 16  # labelled rows per step, below which a task's gradient is mostly noise
UNEVEN = 5.0  # times as many rows, from which the shuffle starves the smaller table


class Counted(Protocol):
    """Rows of a file, and of each task how many of them have a label."""

    @property
    def rows(self) -> int:
        """All rows."""

    @property
    def labelled(self) -> Mapping[str, int]:
        """Of each task, rows with a label."""


def advise(sampling: Sampling, drops: Sequence[Counted], batch: int) -> list[str]:
    """Return what to change about the sampling; nothing where it suits the labels.

    Args:
        sampling: As declared.
        drops: Labels of each file.
        batch: Rows of a step.
    """
    kind, rows = sampling.kind, sum(drop.rows for drop in drops)
    tasks = {name: sum(drop.labelled[name] for drop in drops) for name in drops[0].labelled}
    if refused := sampling.shortfall(rows, tasks, batch):
        return [f"{refused} (counted on all drops; train refuses it where its rows say the same)"]
    if kind not in ("shuffle", "label_aware"):
        return list(_of_common_rows(kind, tasks, rows))
    apart = _apart(drops)
    if len(tasks) > 1 and apart and max(tasks.values()) > UNEVEN * min(tasks.values()):
        small, large = (pick(tasks, key=lambda name: tasks[name]) for pick in (min, max))
        return [
            f"sampling.kind: {kind}: tasks '{large}' ({tasks[large]} labels) and '{small}' ({tasks[small]}) stand in "
            f"different rows; square_root or temperature gives the smaller table more steps"
        ]
    return list(_of_rare_labels(tasks, rows, batch)) if kind == "shuffle" else []


def _apart(drops: Sequence[Counted]) -> bool:
    """Return whether no file has labels of all tasks, as where each file is another table."""
    return all(any(not count for count in drop.labelled.values()) for drop in drops)


def _of_rare_labels(tasks: Mapping[str, int], rows: int, batch: int) -> Iterator[str]:
    for name, labels in tasks.items():
        share = labels / rows
        if share < SELDOM or share * batch < FEW:
            yield (
                f"tasks.{name}: labelled in {share:.2%} of the rows, about {share * batch:.1f} of the {batch} of a "
                f"step; sampling.kind: label_aware puts at least min_labelled of them into each"
            )


def _of_common_rows(kind: str, tasks: Mapping[str, int], rows: int) -> Iterator[str]:
    if min(tasks.values()) > rows / 2:
        yield (
            f"sampling.kind: {kind} draws tables of different rows, but every task is labelled in most rows; "
            f"tasks in the same rows are drawn together, as by shuffle"
        )
