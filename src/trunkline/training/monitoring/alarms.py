"""Alarms: each is raised once per task, at the time, with what was seen and what to do about it.

Source  bounds: of the gradients' lengths and cosines, and of the skill after 30 % of the training, what a study of
        small planted worlds found to tell a real fault from noise; of a gate's load, what mixtures of experts do when
        they collapse. A gradient that opposes another half of the time is what unrelated tasks show, and no alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """What is wrong with one task in one seed."""

    kind: str
    task: str
    seed: int
    seen: str
    do: str


class Alarms:
    """Those raised so far, the first seed's words for all of them.

    Args:
        report: Takes a line for each new one.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.raised: list[dict[str, Any]] = []

    def take(self, step: int, found: list[Seen]) -> None:
        """Raise what is new.

        Args:
            step: How many steps were done.
            found: What is wrong now.
        """
        for seen in found:
            known = next((held for held in self.raised if (held["kind"], held["task"]) == seen[:2]), None)
            if known is None:
                about = {"kind": seen.kind, "task": seen.task, "step": step, "seeds": [seen.seed]}
                self.raised.append(about | {"seen": seen.seen, "do": seen.do})
                self.report(f"alarm: {sentence(self.raised[-1])}")
            elif seen.seed not in known["seeds"]:
                known["seeds"] = sorted([*known["seeds"], seen.seed])

    def state_dict(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return {"raised": [dict(held) for held in self.raised]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.raised = [dict(held) for held in state["raised"]]


def sentence(alarm: dict[str, Any]) -> str:
    """Return an alarm in words.

    Example:
        >>> sentence({"task": "churn", "step": 40, "seeds": [0], "seen": "it has no skill", "do": "look at its labels"})
        "task 'churn': it has no skill (step 40, seed 0); look at its labels"
    """
    seeds = alarm["seeds"]
    said = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return f"task '{alarm['task']}': {alarm['seen']} (step {alarm['step']}, {said}); {alarm['do']}"
