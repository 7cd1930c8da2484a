"""The recipes that are compared, and how long each share of the rows is trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

EPOCHS = {1.0: 3, 0.1: 8, 0.02: 12}  # fewer rows need more passes: 3 over 2 % would be 12 steps


def trunk(**settings: Any) -> dict[str, Any]:
    """Return a change of the section `trunk`."""
    return {"trunk": settings}


class Recipe(NamedTuple):
    """A change of the demo's params.yaml.

    Attributes:
        name: In the table.
        changes: Sections of params.yaml with the settings that differ.
        alone: Train a model per task, too, on the same trunk.
    """

    name: str
    changes: dict[str, Any]
    alone: bool = False


PLAIN, PIECEWISE = {"kind": "plain"}, {"kind": "piecewise"}
EQUAL, LOG, UNCERTAINTY = ({"balance": {"kind": kind}} for kind in ("equal", "log", "uncertainty"))
TABM = trunk(kind="tabm", copies=4, numbers=PIECEWISE)
BASE = Recipe("equal", {**EQUAL, **trunk(numbers=PLAIN)}, alone=True)
RECIPES = [
    BASE,
    Recipe("log", {**LOG, **trunk(numbers=PLAIN)}),
    Recipe("uncertainty", {**UNCERTAINTY, **trunk(numbers=PLAIN)}),
    Recipe("equal, piecewise", {**EQUAL, **trunk(numbers=PIECEWISE)}, alone=True),
    Recipe("log, piecewise", {**LOG, **trunk(numbers=PIECEWISE)}),
    Recipe("uncertainty, piecewise", {**UNCERTAINTY, **trunk(numbers=PIECEWISE)}),
    Recipe("uncertainty, periodic", {**UNCERTAINTY, **trunk(numbers={"kind": "periodic"})}),
    Recipe("equal, piecewise, tabm", {**EQUAL, **TABM}),
    Recipe("log, piecewise, tabm", {**LOG, **TABM}),
    Recipe("uncertainty, piecewise, tabm", {**UNCERTAINTY, **TABM}, alone=True),
]
