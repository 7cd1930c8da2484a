"""A project with a finished run whose model is the tiny one: nothing is trained, everything else is real.

The labels of the rows follow from the tiny model's own score, so that the model as it is predicts them well, and one
with other weights predicts them badly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_model
from onnx import helper
from ruamel.yaml import YAML

from trunkline.files import seal, sha256
from trunkline.project import Project, parse_project

RIGHT, SLIGHTLY_OFF, BETTER, WRONG = (1.0, -1.0), (0.98, -0.98), (0.0, 0.0), (-1.0, 1.0)
"""What the model makes of the words EWR and LGA; BETTER is better than WRONG."""
PARAMS: dict[str, Any] = {
    "version": 1,
    "seed": 1,
    "data": {"key": ["id"]},
    "columns": {"x": {"kind": "numeric"}, "origin": {"kind": "categorical"}, "time_hour": {"kind": "timestamp"}},
    "tasks": {
        "late": {"kind": "binary", "target": "late"},
        "size": {"kind": "multiclass", "target": "size"},
        "delay": {"kind": "regression", "target": "delay"},
    },
    "split": {"kind": "random"},
    "evaluation": {"draws": 200},
}


def make_project(root: Path, rows: int = 1200, **changes: Any) -> Project:
    """Write params.yaml and data/split; return what is declared."""
    content = {**PARAMS, **changes}
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "params.yaml", "w") as handle:
        YAML().dump(content, handle)
    write_split(root, _rows(rows))
    return parse_project(content)


def write_split(root: Path, table: pa.Table) -> None:
    """Write the rows of data/split."""
    folder = root / "data/split"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "rows.parquet", row_group_size=500, write_page_checksum=True)
    seal(folder, ["rows.parquet"])


def _rows(count: int) -> pa.Table:
    generator = np.random.default_rng(3)
    x, origin = generator.normal(0, 1, count), generator.choice(["EWR", "LGA"], count)
    seconds = generator.integers(0, 86_400, count)
    score = x + np.where(origin == "EWR", 1.0, -1.0) + seconds / 86_400
    late = generator.random(count) < 1 / (1 + np.exp(-score))
    size = np.array(tiny_model.CLASSES, object)[np.stack([score, -score, 0 * score], 1).argmax(axis=1)]
    return pa.table(
        {
            "id": [f"row-{place}" for place in range(count)],
            "x": x,
            "origin": origin,
            "time_hour": pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC")),
            "late": pa.array(late, mask=generator.random(count) < 0.1),
            "size": pa.array(np.where(generator.random(count) < 0.8, size, "middle")),
            "delay": 10 * score + generator.normal(0, 4, count),
            "side": np.repeat(["train", "validation", "test"], [count // 2, count // 4, count - 3 * (count // 4)]),
        }
    )


def write_export(root: Path, weights: tuple[float, float] = RIGHT, gates: Any = (), **changes: Any) -> Path:
    """Leave models/export and reports/evaluation.json as a run leaves them; return the model's path.

    Args:
        root: The project's folder.
        weights: What the model makes of the words EWR and LGA.
        gates: Of its run.
        changes: Of the card.
    """
    graph = tiny_model.graph()
    (words,) = (node for node in graph.graph.node if node.op_type == "LabelEncoder")
    (values,) = (part for part in words.attribute if part.name == "values_floats")
    values.CopyFrom(helper.make_attribute("values_floats", [0.25, *weights]))
    evaluation = {
        "tasks": {},
        "composite": {},
        "gates": list(gates),
        "deployable": all(gate["passed"] for gate in gates),
    }
    folder = root / "models/export"
    hashes = {"data_sha256": sha256(root / "data/split/rows.parquet"), "params_sha256": sha256(root / "params.yaml")}
    facts = {part: evaluation[part] for part in ("composite", "gates", "deployable")}
    path = tiny_model.write_model(folder, graph, **facts, **hashes, name="model", **changes)
    card = json.loads((folder / "card.json").read_text())
    card["golden"]["outputs"] = _golden(path)
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "MODEL_CARD.md").write_text("A tiny model.\n")
    pq.write_table(pa.table({"x": [1.0]}), folder / "sample.parquet")
    (folder / "reference.json").write_text("{}\n")
    seal(folder, ["model.onnx", "card.json", "MODEL_CARD.md", "sample.parquet", "reference.json"])
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports/evaluation.json").write_text(json.dumps(evaluation))
    return path


def _golden(model: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    x, origin, time_hour = tiny_model.ROWS.values()
    feeds = {
        "x": np.array([[np.nan if value is None else value] for value in x]),
        "origin": np.array([[word or ""] for word in origin], object),
        "time_hour": np.array([[-(2**63) if value is None else value] for value in time_hour], np.int64),
    }
    names = [output.name for output in session.get_outputs()]
    return {name: values.tolist() for name, values in zip(names, session.run(names, feeds), strict=True)}
