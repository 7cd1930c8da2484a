"""What the report says of a task whose rows did not all count the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.evaluation import wording

Json = Mapping[str, Any]

MOST_CLASSES = 8


def rebalanced_said(held: Json) -> str:
    """Say by which rule a task was rebalanced, what its rows counted, and what was undone.

    Args:
        held: The task's part of `rebalance` in models/shared/run.json.

    Example:
        >>> weights, shift = {"false": 0.5, "true": 8.0}, {"false": -0.7, "true": 2.1}
        >>> rule = {"kind": "class_weights", "power": 1.0}
        >>> said = rebalanced_said({"rule": rule, "class_weights": weights, "prior_shift": shift})
        >>> print(said.partition(". ")[0])
        Rebalanced by `class_weights` (power 1): in this task's loss a row counted 0.5000 as false, 8.0000 as true
    """
    rule = dict(held["rule"])
    kind, settings = rule.pop("kind"), [f"{name} {value:g}" for name, value in rule.items() if value is not None]
    named = f"Rebalanced by `{kind}`" + (f" ({', '.join(settings)})" if settings else "")
    if not held["class_weights"]:
        return (
            f"{named}: in this task's loss a row counted the more, the rarer its number. No shift undoes that: where "
            f"the inputs say little, predictions lean towards rare numbers."
        )
    weights = held["class_weights"]
    counted = f": in this task's loss a row counted {_listed(weights, wording.score)}" if _differ(weights) else ""
    return f"{named}{counted}. {_undone(held['prior_shift'])}{_beyond(kind)}"


def _undone(shift: Json) -> str:
    if list(shift) == ["false", "true"]:
        moved = f"the logit of true by {wording.signed(shift['true'] - shift['false'])}"
    else:
        moved = f"the logits by {_listed(shift, wording.signed)}"
    if not _differ(shift):
        return "That left the classes' shares as they are."
    return f"That moved {moved}, which was taken off again: probabilities are those of the rows as they are."


def _beyond(kind: str) -> str:
    """Say what no shift undoes."""
    return " That focal loss draws confidences together was undone, too, by the inverse of its minimum." * (
        kind == "focal"
    )


def _differ(numbers: Json) -> bool:
    return bool(max(numbers.values()) - min(numbers.values()) > 1e-9)


def _listed(by_class: Json, shown: Any) -> str:
    said = ", ".join(f"{shown(value)} as {word}" for word, value in list(by_class.items())[:MOST_CLASSES])
    more = len(by_class) - MOST_CLASSES
    return f"{said} and {more} more" if more > 0 else said
