"""Real flights as small monthly drops, ways to spoil one, and the two stages that take them in."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline import stages
from trunkline.data.flights import write_months
from trunkline.project import Project, parse_project, read_yaml

PARAMS = Path(__file__).parent.parent / "params.yaml"
FEW_COLUMNS = ("distance", "temp", "dewp", "wind_speed", "precip", "carrier", "origin")
FEW_TASKS = ("cancelled", "arr15", "arr60", "arr_delay")
NEW = "flights-2014-01.parquet"


@functools.cache
def months() -> dict[str, pa.Table]:
    """Return the twelve months by file name."""
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: pq.read_table(path) for path in write_months(Path(folder), 3)}


def sample(month: int, rows: int = 1500, seed: int = 0) -> pa.Table:
    """Return some rows of a month, in their order."""
    table = months()[f"flights-2013-{month:02d}.parquet"]
    chosen = np.random.default_rng(seed).choice(len(table), rows, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def params(**validation: Any) -> dict[str, Any]:
    """Return the demo's params.yaml for drops that lie in data/incoming/, with some validation settings changed."""
    content: dict[str, Any] = read_yaml(PARAMS)
    content["data"]["source"] = {"kind": "files"}
    content["validation"] |= validation
    return content


def few(**validation: Any) -> Project:
    """Return a project of few columns and tasks, so that validation takes a second."""
    content = params(**({"min_class_rows": 5} | validation))
    content["columns"] = {name: content["columns"][name] for name in FEW_COLUMNS}
    content["tasks"] = {name: content["tasks"][name] for name in FEW_TASKS}
    content["evaluation"] = {}
    return parse_project(content)


def lay(root: Path, drops: Mapping[str, pa.Table]) -> None:
    """Write drops to data/incoming/."""
    folder = root / stages.INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in drops.items():
        pq.write_table(table, folder / name)


def take_in(root: Path, project: Project) -> None:
    """Run the first two stages."""
    stages.ingest(root, project)
    stages.validate(root, project)
