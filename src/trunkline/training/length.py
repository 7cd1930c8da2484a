"""How many epochs an arm trains where params.yaml leaves it to the data: twice as many as long as that pays.

The number of rows says where to begin (training/budget.py), the validation rows whether to go on: noisy labels are
learned by heart in a few more passes, clean ones go on getting better for many.
"""

from __future__ import annotations

from collections.abc import Callable

from trunkline.training.fit import Report

WORTH = 0.005
"""Rise of the validation composite for which training takes twice as long: as the default margin of a verdict, in
parts of the way from a constant prediction to a perfect one."""

ENOUGH = 2_000
"""Steps from which on no longer training is tried."""


def choose_epochs(
    begin: int, steps: int, composite: Callable[[int], float], report: Report
) -> tuple[int, list[dict[str, float]]]:
    """Return how many epochs to train, and what was tried on the way.

    Args:
        begin: Epochs that fit the number of rows.
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
