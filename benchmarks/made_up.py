"""Rows shaped like the demo's: 20 numbers, 3 categories, 5 tasks, labels missing where the flight was cancelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.files import seal, write_text
from trunkline.project import PARAMS
from trunkline.stages import REPORTS, SPLIT

NUMBERS = [f"number_{place:02d}" for place in range(20)]
SELDOM_MISSING = NUMBERS[7:]  # as the weather and the destination are
WORDS = {"carrier": 16, "origin": 3, "dest": 105}
KEY = ["time_hour", "carrier", "flight", "origin"]
TASKS: dict[str, dict[str, Any]] = {
    "cancelled": {"kind": "binary", "target": "cancelled"},
    "arr_delay": {"kind": "regression", "target": "arr_delay", "unit": "minutes", "clip": [-60, 180]},
    "arr15": {"kind": "binary", "target": "arr15"},
    "arr60": {"kind": "binary", "target": "arr60"},
    "air_time": {"kind": "regression", "target": "air_time", "unit": "minutes"},
}
SHARES = {"train": 0.66, "validation": 0.17, "test": 0.17}


def write_project(root: Path, rows: int, tasks: int, width: int) -> None:
    """Make a project whose rows are split, as the split stage leaves them.

    Args:
        root: The project's folder.
        rows: Rows of all sides.
        tasks: How many of the five tasks it has.
        width: Units of each of the trunk's two layers; the demo's has 256.
    """
    folder = root / SPLIT
    folder.mkdir(parents=True)
    pq.write_table(_table(rows), folder / "rows.parquet", compression="zstd", row_group_size=28_000)
    seal(folder, ["rows.parquet"])
    (root / REPORTS).mkdir()
    (root / REPORTS / "validation.json").write_text("{}")
    write_text(root / PARAMS, json.dumps(_params(tasks, width)))  # JSON is YAML, too


def _params(tasks: int, width: int) -> dict[str, Any]:
    kinds = [*((name, "numeric") for name in NUMBERS), *((name, "categorical") for name in WORDS)]
    return {
        "version": 1,
        "seed": 1,
        "data": {"key": KEY},
        "columns": {name: {"kind": kind} for name, kind in kinds},
        "tasks": dict(list(TASKS.items())[:tasks]),
        "split": {"kind": "random"},
        "trunk": {"width": width, "depth": 2, "dropout": 0.2},
        "training": {"epochs": 1, "seeds": 2, "device": "cpu"},
        "export": {"parity_rows": 1000},
    }


def _table(rows: int) -> pa.Table:
    chance = np.random.default_rng(1)
    numbers = chance.normal(size=(rows, len(NUMBERS)))
    codes = {name: chance.zipf(1.5, rows) % words for name, words in WORDS.items()}
    signal = 0.6 * numbers[:, 0] + 0.4 * numbers[:, 1] * numbers[:, 2] + 0.3 * (codes["carrier"] % 5 - 2)
    cancelled = chance.random(rows) < 1 / (1 + np.exp(4 - signal))
    delay = 7 + 15 * signal + chance.normal(0, 30, rows)
    flown = 150 + 80 * numbers[:, 3] + 10 * (codes["dest"] % 7) + chance.normal(0, 10, rows)
    known = {"arr_delay": delay, "arr15": delay >= 15, "arr60": delay >= 60, "air_time": flown}
    absent = {name: chance.random(rows) < 0.05 for name in SELDOM_MISSING}
    return pa.table(
        {name: pa.array(numbers[:, place], mask=absent.get(name)) for place, name in enumerate(NUMBERS)}
        | {name: pa.array(code.astype(str)) for name, code in codes.items()}
        | {
            "time_hour": pa.array(1_357_000_000 + np.arange(rows) // 40 * 3600, pa.timestamp("s", "UTC")),
            "flight": pa.array(chance.integers(1, 9000, rows)),
            "cancelled": pa.array(cancelled),
        }
        | {name: pa.array(values, mask=cancelled) for name, values in known.items()}
        | {"drop": pa.array(["made up"] * rows)}
        | {"side": pa.array(chance.choice(list(SHARES), rows, p=list(SHARES.values())))}
    )
