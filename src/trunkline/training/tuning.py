"""What of an arm's recipe the validation rows decide, by trainings of its first seed.

epochs          where params.yaml leaves them to the data: the number of rows says where to begin (training/budget.py),
                then twice as many as long as that pays. Noisy labels are learned by heart in a few more passes, clean
                ones go on getting better for many.
learning rate   where alone.tune lists several
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from trunkline.training.declarations import Training
from trunkline.training.fit import Report

WORTH = 0.005
"""Rise of the validation composite for which training takes twice as long: as the default margin of a verdict, in
parts of the way from a constant prediction to a perfect one."""

FEWEST = 64
"""Steps of the first length tried: shorter trainings, as of one large step per epoch, tell little from each other."""

ENOUGH = 1_000
"""Steps from which on no longer training is tried: twice as many may be made."""


def tuned_recipe(
    recipe: Training, tune: Sequence[float], steps: int, composite: Callable[[Training, str], float], report: Report
) -> tuple[Training, dict[str, Any]]:
    """Decide what the recipe leaves open: first how many epochs, then the learning rate.

    Args:
        recipe: As declared.
        tune: Learning rates to try.
        steps: Of an epoch.
        composite: Trains the first seed by a recipe, in a place of its own, and returns its composite.
        report: Takes lines of progress.

    Returns:
        The recipe, and what was tried.
    """
    found: dict[str, Any] = {}
    if recipe.tries_longer:
        begun = recipe
        epochs, found["lengths"] = choose_epochs(
            recipe.epochs,
            steps,
            lambda epochs: composite(begun.model_copy(update={"epochs": epochs}), f"trial of {epochs} epochs"),
            report,
        )
        recipe = recipe.model_copy(update={"epochs": epochs})
        most = "at most " if recipe.early_stop else ""
        report(f"trains {most}{epochs} epochs in steps of {recipe.batch:,} rows")
    trials = []
    for place, rate in enumerate(tune):
        report(f"tries learning rate {rate:g}")
        tried = composite(recipe.model_copy(update={"learning_rate": rate}), f"trial {place}")
        trials.append({"learning_rate": rate, "composite": tried})
    best = max(trials, key=lambda trial: trial["composite"], default={"learning_rate": recipe.learning_rate})
    found |= {"learning_rate": best["learning_rate"], "trials": trials}
    return recipe.model_copy(update={"learning_rate": best["learning_rate"]}), found


def choose_epochs(
    begin: int, steps: int, composite: Callable[[int], float], report: Report
) -> tuple[int, list[dict[str, float]]]:
    """Return how many epochs to train, and what was tried on the way.

    Args:
        begin: Epochs that fit the number of rows; more are tried first where these make a handful of steps.
        steps: Steps of an epoch.
        composite: Trains one seed for so many epochs and returns its composite on the validation rows.
        report: Takes lines of progress.

    Returns:
        The epochs; and of each length tried its `epochs` and `composite`, none where the first makes steps enough.

    Example:
        >>> choose_epochs(8, 10, {8: 0.2, 16: 0.3, 32: 0.303}.__getitem__, print)[0]
        tries 8 epochs
        tries 16 epochs
        tries 32 epochs
        16
    """
    begin = max(begin, math.ceil(FEWEST / steps))
    if begin * steps >= ENOUGH:
        return begin, []

    def tried(epochs: int) -> dict[str, float]:
        report(f"tries {epochs} epochs")
        return {"epochs": epochs, "composite": composite(epochs)}

    trials, epochs = [tried(begin)], begin
    while epochs * steps < ENOUGH:
        trials.append(tried(2 * epochs))
        if not trials[-1]["composite"] >= trials[-2]["composite"] + WORTH:
            break
        epochs *= 2
    return epochs, trials
