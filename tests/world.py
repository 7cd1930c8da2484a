"""A small planted world: three related tasks of different kinds over a few columns of every kind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from trunkline import stages
from trunkline.files import seal
from trunkline.project import Project, parse_project

PARAMS: dict[str, Any] = {
    "version": 1,
    "seed": 1,
    "data": {"key": ["id"]},
    "columns": {
        "age": {"kind": "numeric"},
        "income": {"kind": "numeric", "scale": "quantile"},
        "city": {"kind": "categorical"},
        "since": {"kind": "timestamp", "cycles": ["day", "week", "year"], "age": True},
    },
    "tasks": {
        "churn": {"kind": "binary", "target": "churned", "threshold": 0.5},
        "plan": {"kind": "multiclass", "target": "plan_name"},
        "spend": {"kind": "regression", "target": "spent", "unit": "euro"},
    },
    "split": {"kind": "random"},
    "trunk": {"width": 32, "depth": 2, "embedding": 4},
    "training": {"seeds": 1, "epochs": 4, "batch": 64, "learning_rate": 0.01, "device": "cpu"},
    "export": {"parity_rows": 200, "golden_rows": 3},
}
CITIES = np.array(["Wien", "Graz", "Linz", "Bad Ischl"], dtype=object)


def params(**changes: Any) -> dict[str, Any]:
    """Return the world's params with some sections changed: `training={"epochs": 2}` updates that section."""
    content = copy.deepcopy(PARAMS)
    for section, settings in changes.items():
        if isinstance(settings, dict):
            content.setdefault(section, {}).update(settings)
        else:
            content[section] = settings
    return content


def rows(count: int = 2000, seed: int = 0) -> pa.Table:
    """Return rows whose targets follow from the inputs, with missing inputs and labels."""
    generator = np.random.default_rng(seed)
    age, income = generator.normal(40, 12, count), generator.lognormal(7, 1, count)
    city = generator.integers(0, 4, count)
    hour = generator.integers(0, 24, count)
    signal = (age - 40) / 12 + 0.8 * (city - 1.5) + np.cos(2 * np.pi * hour / 24)
    churned = generator.random(count) < 1 / (1 + np.exp(-(signal - 1)))
    plan = np.array(["free", "plus", "pro"], dtype=object)[
        np.digitize(signal + generator.normal(0, 0.5, count), [-1, 1])
    ]
    spent = 30 + 10 * signal + generator.normal(0, 5, count)
    since = 1_600_000_000 + generator.integers(0, 365, count) * 86_400 + hour * 3600

    def without(values: Any, share: float, kind: pa.DataType) -> pa.Array:
        return pa.array(values, type=kind, mask=generator.random(count) < share)

    return pa.table(
        {
            "id": pa.array([f"row-{place}" for place in range(count)]),
            "age": without(age, 0.05, pa.float64()),
            "income": without(income, 0.0, pa.float64()),
            "city": without(CITIES[city], 0.05, pa.string()),
            "since": without(since * 1_000_000, 0.02, pa.timestamp("us", tz="UTC")),
            "churned": without(churned, 0.1, pa.bool_()),
            "plan_name": without(plan, 0.2, pa.string()),
            "spent": without(spent, 0.3, pa.float64()),
        }
    )


def write_params(root: Path, content: dict[str, Any]) -> Project:
    """Write params.yaml and return what it declares."""
    with open(root / "params.yaml", "w") as handle:
        YAML().dump(content, handle)
    return parse_project(content)


def split_project(root: Path, count: int = 2000, **changes: Any) -> Project:
    """Make a project in `root` whose rows are already split, as the split stage leaves them."""
    project = write_params(root, params(**changes))
    table = rows(count)
    side = np.repeat(["train", "validation", "test"], [count - 2 * (count // 4), count // 4, count // 4])
    table = table.append_column("drop", pa.array(["drop.parquet"] * count)).append_column("side", pa.array(side))
    folder = root / "data" / "split"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "rows.parquet", row_group_size=700, write_page_checksum=True)
    seal(folder, ["rows.parquet"])
    stages.rebalance(root, project)
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "validation.json").write_text("{}")
    return project
