"""Main tasks are what the model is for; auxiliary ones are learned along with them and then forgotten.

An auxiliary task shapes the shared layers while they are learned. It is neither exported nor judged: it has no model
alone, no verdict, no gate and no part in the composite. Its say falls to nothing towards the end of the training, so
that the last steps are the main tasks' alone.

source  annealing in the last fifth of the training: Du et al. 2018, arXiv:1812.02224, let an auxiliary task act only
        where it helps; a weight that ends at 0 leaves the optimum of the main tasks where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trunkline.tasks.given import parent_of

if TYPE_CHECKING:
    from trunkline.tasks import Task

FADING = ("anneal", "anneal_from")


def main_tasks(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks that are exported and judged, in their order."""
    return {name: task for name, task in tasks.items() if task.role == "main"}


def role_problems(tasks: Mapping[str, Task]) -> Iterator[str]:
    """Yield a sentence for each role that cannot be."""
    main = main_tasks(tasks)
    if not main:
        yield "tasks: all are auxiliary, so nothing would be left to export; give one of them role: main"
    for name, task in main.items():
        for setting in FADING:
            if setting in task.model_fields_set:
                yield f"tasks.{name}.{setting}: says nothing of a main task; remove it, or write role: auxiliary"
        held = parent_of(task)
        if held and held[0] in tasks and held[0] not in main:
            yield (
                f"tasks.{name}.given: '{held[0]}' is auxiliary and not exported, but a main task needs it; make it a "
                f"main task, or '{name}' auxiliary"
            )


def auxiliaries(tasks: Mapping[str, Task], labelled: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return `auxiliary` of reports/evaluation.json; empty where every task is a main one.

    Args:
        tasks: The declared tasks.
        labelled: Labelled rows by task and side.
    """
    main = main_tasks(tasks)
    return {
        name: {"kind": task.kind, "labelled": labelled[name], "anneal": task.anneal, "anneal_from": task.anneal_from}
        for name, task in tasks.items()
        if name not in main
    }


def auxiliary_words(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence per auxiliary task.

    Example:
        >>> auxiliary_words({"a": {"kind": "binary", "labelled": {"train": 9}, "anneal": "none", "anneal_from": 0.8}})
        ['a (binary, 9 labelled training rows): its say stays to the end of the training.']
    """
    return [
        f"{name} ({task['kind']}, {task['labelled']['train']:,} labelled training rows): {_fading(task)}."
        for name, task in found.items()
    ]


def _fading(task: Mapping[str, Any]) -> str:
    if task["anneal"] == "none":
        return "its say stays to the end of the training"
    return f"its say falls to nothing ({task['anneal']}) after {100 * task['anneal_from']:g} % of the steps"
