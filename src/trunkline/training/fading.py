"""How much auxiliary tasks still say at a step of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trunkline.tasks import Task
from trunkline.tasks.roles import main_tasks

Fading = tuple[str, float]
"""How the say of a task falls (none, linear or cosine), and from which share of the steps on."""


def fadings(tasks: Mapping[str, Task]) -> dict[str, Fading]:
    """Return how the say of every auxiliary task falls."""
    main = main_tasks(tasks)
    return {name: (task.anneal, task.anneal_from) for name, task in tasks.items() if name not in main}


def say(fading: Fading | None, step: int, steps: int) -> float:
    """Return the share of its weight that a task has in a step; above 0 even in the last.

    Args:
        fading: None for a main task, whose say stays.
        step: From 0, over all epochs.
        steps: Of all epochs.

    Example:
        >>> [round(say(("linear", 0.5), step, 8), 2) for step in range(8)]
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
        >>> round(say(("cosine", 0.0), 2, 4), 2)
        0.5
    """
    form, start = fading or ("none", 0.0)
    gone = (step / steps - start) / (1 - start)
    if form == "none" or gone <= 0:
        return 1.0
    return 1 - gone if form == "linear" else 0.5 * (1 + math.cos(math.pi * gone))
