"""The recipes that are compared, and how long each share of the rows is trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

EPOCHS = {1.0: 3, 0.1: 8, 0.02: 12}  # fewer rows need more passes: 3 over 2 % would be 12 steps
# Of recipes in more steps: 12 passes over 2 % are 48 steps of 1024 rows, which leaves every task half learned.
MORE_STEPS = {1.0: {"epochs": 3}, 0.1: {"epochs": 6, "batch": 512}, 0.02: {"epochs": 8, "batch": 256}}


def trunk(**settings: Any) -> dict[str, Any]:
    """Return a change of the section `trunk`."""
    return {"trunk": settings}


class Recipe(NamedTuple):
    """A change of the demo's params.yaml.

    Attributes:
        name: In the table.
        changes: Sections of params.yaml with the settings that differ.
        alone: Train a model per task, too, on the same trunk.
        more_steps: Take epochs and batch of MORE_STEPS in place of EPOCHS.
    """

    name: str
    changes: dict[str, Any]
    alone: bool = False
    more_steps: bool = False

    def training(self, share: float) -> dict[str, Any]:
        """Return how long a share of the rows is trained on, as settings of the section `training`."""
        return MORE_STEPS[share] if self.more_steps else {"epochs": EPOCHS[share]}


PLAIN, PIECEWISE = {"kind": "plain"}, {"kind": "piecewise"}
EQUAL, LOG, UNCERTAINTY = ({"balance": {"kind": kind}} for kind in ("equal", "log", "uncertainty"))
TABM = trunk(kind="tabm", copies=4, numbers=PIECEWISE)
STEM = {"sharing": {"kind": "stem"}}
RARE_TIMES_3 = {"tasks": {"cancelled": {"kind": "binary", "target": "cancelled", "weight": 3.0}}}
BASE = Recipe("equal", {**EQUAL, **trunk(numbers=PLAIN)}, alone=True)
NUMBERS = {**EQUAL, **trunk(numbers=PIECEWISE)}
RECIPES = [
    BASE,
    Recipe("log", {**LOG, **trunk(numbers=PLAIN)}),
    Recipe("uncertainty", {**UNCERTAINTY, **trunk(numbers=PLAIN)}),
    Recipe("equal, piecewise", NUMBERS, alone=True),
    Recipe("log, piecewise", {**LOG, **trunk(numbers=PIECEWISE)}),
    Recipe("uncertainty, piecewise", {**UNCERTAINTY, **trunk(numbers=PIECEWISE)}),
    Recipe("uncertainty, periodic", {**UNCERTAINTY, **trunk(numbers={"kind": "periodic"})}),
    Recipe("equal, piecewise, tabm", {**EQUAL, **TABM}),
    Recipe("log, piecewise, tabm", {**LOG, **TABM}),
    Recipe("uncertainty, piecewise, tabm", {**UNCERTAINTY, **TABM}, alone=True),
    Recipe("more steps", NUMBERS, alone=True, more_steps=True),
    Recipe("more steps, cancelled x 3", {**NUMBERS, **RARE_TIMES_3}, more_steps=True),
    Recipe("more steps, stem", {**NUMBERS, **STEM}, more_steps=True),
    Recipe("more steps, stem, cancelled x 3", {**NUMBERS, **STEM, **RARE_TIMES_3}, more_steps=True),
]
