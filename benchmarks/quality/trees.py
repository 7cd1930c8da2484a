"""Gradient-boosted trees, one model per task: what a team without a shared model would deploy.

LightGBM with step size 0.05 and at most 300 rounds; the half of the validation rows that may choose stops it, and
chooses for each task and seed among three sizes of trees: few rows and many airports want small ones. It reads the raw
columns, words as its own categories, and learns what our tasks learn: clipped labels for a number that declares a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from trunkline.columns import Column
from trunkline.tasks import Task

SETTINGS = {"learning_rate": 0.05, "feature_fraction": 0.8, "verbosity": -1, "num_threads": 1, "deterministic": True}
SIZES: tuple[dict[str, Any], ...] = (
    {"num_leaves": 63},
    {"num_leaves": 31, "cat_smooth": 100, "min_data_per_group": 200},
    {"num_leaves": 15},
)
ROUNDS, PATIENCE = 300, 50
OBJECTIVES = {"binary": "binary", "regression": "regression"}

Values = np.ndarray[Any, Any]


def inputs(columns: Mapping[str, Column], rows: pl.DataFrame) -> Values:
    """Return the raw columns as numbers, float64 [rows, columns]; of words their places in the sorted list."""
    parts = []
    for name, column in columns.items():
        values = rows[name]
        if column.kind == "categorical":
            words = sorted(values.drop_nulls().unique())
            values = values.cast(pl.Enum(words)).to_physical()
        parts.append(values.cast(pl.Float64).to_numpy())
    return np.stack(parts, axis=1)


def boosted(
    task: Task,
    columns: Mapping[str, Column],
    x: Mapping[str, Values],
    y: Mapping[str, Values],
    choosing: Values,
    seed: int,
) -> dict[str, Values]:
    """Train one task's trees.

    Args:
        task: The declared task.
        columns: The declared inputs, in the order of the arrays.
        x: Inputs per side, [rows, columns].
        y: Labels per side, [rows], NaN = no label.
        choosing: Places of the validation rows that may choose the number of rounds.
        seed: Of the trees.

    Returns:
        Predictions per side, validation and test, [rows, 1].
    """
    import lightgbm

    words = [place for place, column in enumerate(columns.values()) if column.kind == "categorical"]
    clip = getattr(task, "clip", None)

    def data(side: str, places: Values | slice) -> Any:
        inputs, labels = x[side][places], y[side][places]
        known = ~np.isnan(labels)
        labels = np.clip(labels, *clip) if clip else labels
        return lightgbm.Dataset(inputs[known], labels[known], categorical_feature=words, free_raw_data=False)

    train, chooses = data("train", slice(None)), data("validation", choosing)
    models = []
    for size in SIZES:
        settings = {**SETTINGS, **size, "objective": OBJECTIVES[task.kind], "seed": seed}
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        models.append(lightgbm.train(settings, train, ROUNDS, valid_sets=[chooses], callbacks=[stop]))
    best = min(models, key=lambda model: min(model.best_score["valid_0"].values()))
    return {side: np.asarray(best.predict(x[side]))[:, None] for side in ("validation", "test")}
