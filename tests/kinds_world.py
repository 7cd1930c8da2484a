"""A made-up table with one task of every kind that a single column of a yes or no is not enough for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from world import write_params

from trunkline import stages
from trunkline.project import Project

TASKS: dict[str, Any] = {
    "churn": {"kind": "binary", "target": "churned"},
    "visits": {"kind": "count", "target": "visits", "unit": "visits"},
    "stars": {"kind": "ordinal", "target": "stars", "classes": [1, 2, 3, 4]},
    "delay": {"kind": "quantile", "target": "delay", "unit": "minutes"},
    "tags": {"kind": "multilabel", "labels": ["warm", "wet", "rare"]},
    "stay": {"kind": "survival", "target": "days", "event": "left", "bins": 6, "unit": "days"},
}
PARAMS: dict[str, Any] = {
    "version": 1,
    "seed": 1,
    "data": {"key": ["id"], "sensitive": ["city"]},
    "columns": {"x": {"kind": "numeric"}, "city": {"kind": "categorical"}},
    "tasks": TASKS,
    "validation": {"min_rows": 100, "min_class_rows": 10, "min_drop_rows": 1},
    "split": {"kind": "random"},
    "trunk": {"width": 16, "depth": 1, "embedding": 2},
    "training": {"seeds": 2, "epochs": 6, "batch": 64, "learning_rate": 0.02, "device": "cpu"},
    "evaluation": {"draws": 200, "slices": ["city"]},
    "export": {"parity_rows": 100, "golden_rows": 3},
}


def rows(count: int = 1000, seed: int = 0) -> pa.Table:
    """Return rows whose labels of every kind follow from the inputs; each label is missing here and there."""
    generator = np.random.default_rng(seed)
    x, city = generator.normal(size=count), generator.integers(0, 3, count)
    signal = x + 0.7 * (city - 1)
    stars = np.digitize(signal + generator.normal(0, 0.7, count), [-1, 0, 1]) + 1

    def without(values: Any, kind: pa.DataType, share: float = 0.1) -> pa.Array:
        return pa.array(values, type=kind, mask=generator.random(count) < share)

    left, watched = generator.exponential(30 * np.exp(0.8 * signal)), generator.exponential(60, count)
    columns = {
        "id": pa.array([f"row-{place}" for place in range(count)]),
        "x": pa.array(x),
        "city": pa.array(np.array(["Wien", "Graz", "Linz"], dtype=object)[city]),
        "churned": without(generator.random(count) < 1 / (1 + np.exp(-signal)), pa.bool_()),
        "visits": without(generator.poisson(np.exp(0.5 + 0.6 * signal)), pa.int64()),
        "stars": without(stars, pa.int64()),
        "delay": without(20 + 10 * signal + generator.gumbel(size=count) * (4 + 2 * np.abs(x)), pa.float64()),
        "warm": without(generator.random(count) < 1 / (1 + np.exp(-2 * signal)), pa.bool_(), 0.3),
        "wet": without(generator.random(count) < 1 / (1 + np.exp(x)), pa.bool_(), 0.3),
        "rare": without(generator.random(count) < 0.2 / (1 + np.exp(-signal)), pa.bool_(), 0.3),
        "days": without(np.minimum(left, watched), pa.float64()),
        "left": without(left <= watched, pa.bool_()),
    }
    return pa.table(columns)


def run(root: Path, table: pa.Table | None = None, upto: str = "export", **changes: Any) -> Project:
    """Run the nine stages in order, up to one of them, on a table dropped into data/incoming/."""
    project = write_params(root, PARAMS | changes)
    (root / "data/incoming").mkdir(parents=True, exist_ok=True)
    pq.write_table(rows() if table is None else table, root / "data/incoming/all.parquet")
    for name, stage in stages.STAGES.items():
        for extra in project.tasks if name == "baseline" else [None]:
            stage(root, project, extra) if extra else stage(root, project)
        if name == upto:
            break
    return project
