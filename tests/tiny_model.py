"""A tiny exported model with every kind of input and output, and the card that belongs to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

CLASSES = ["small", "middle", "large"]
INPUTS = {"x": "numeric", "origin": "categorical", "time_hour": "timestamp"}
TYPES: dict[str, Any] = {
    "numeric": (TensorProto.DOUBLE, "float64", "NaN"),
    "categorical": (TensorProto.STRING, "string", ""),
    "timestamp": (TensorProto.INT64, "int64", -(2**63)),
}
ROWS: dict[str, list[Any]] = {"x": [1.5, -2.0, None], "origin": ["EWR", "LGA", None], "time_hour": [0, 86_399, None]}


def graph() -> ModelProto:
    """The model: score = x + (the origin's number) + (share of the day), then one head per task."""
    node = helper.make_node
    constants = {
        "zero": np.array(0.0),
        "none": np.array(-(2**63)),
        "noon": np.array(0),
        "day": np.array(86_400),
        "days": np.array(86_400.0),
        "ten": np.array(10.0, np.float32),
        "classes": np.array([[word] for word in CLASSES], object),
    }
    nodes = [
        node("IsNaN", ["x"], ["is_nan"]),
        node("IsInf", ["x"], ["is_inf"]),
        node("Or", ["is_nan", "is_inf"], ["no_x"]),
        node("Where", ["no_x", "zero", "x"], ["number"]),
        node("LabelEncoder", ["origin"], ["place"], domain="ai.onnx.ml", keys_strings=["", "EWR", "LGA"],
             values_floats=[0.25, 1.0, -1.0], default_float=0.5),
        node("Cast", ["place"], ["wide_place"], to=TensorProto.DOUBLE),
        node("Equal", ["time_hour", "none"], ["no_moment"]),
        node("Where", ["no_moment", "noon", "time_hour"], ["moment"]),
        node("Mod", ["moment", "day"], ["second"]),
        node("Cast", ["second"], ["wide_second"], to=TensorProto.DOUBLE),
        node("Div", ["wide_second", "days"], ["share"]),
        node("Sum", ["number", "wide_place", "share"], ["wide_score"]),
        node("Cast", ["wide_score"], ["score"], to=TensorProto.FLOAT),
        node("Neg", ["score"], ["minus"]),
        node("Sub", ["score", "score"], ["even"]),
        node("Concat", ["score", "minus", "even"], ["logits"], axis=1),
        node("Sigmoid", ["score"], ["late.probability"]),
        node("Softmax", ["logits"], ["size.probability"], axis=1),
        node("Mul", ["score", "ten"], ["delay.value"]),
        node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        node("Gather", ["classes", "best"], ["size.label"], axis=0),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info(name, TYPES[kind][0], ["rows", 1]) for name, kind in INPUTS.items()]
    outputs = [
        helper.make_tensor_value_info("late.probability", TensorProto.FLOAT, ["rows", 1]),
        helper.make_tensor_value_info("size.probability", TensorProto.FLOAT, ["rows", 3]),
        helper.make_tensor_value_info("delay.value", TensorProto.FLOAT, ["rows", 1]),
        helper.make_tensor_value_info("size.label", TensorProto.STRING, ["rows", 1]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def expected(x: float | None, origin: str | None, time_hour: int | None) -> dict[str, Any]:
    """The outputs of one row, computed by hand."""
    known = x is not None and np.isfinite(x)
    score = (x if known else 0.0) + {None: 0.25, "": 0.25, "EWR": 1.0, "LGA": -1.0}.get(origin, 0.5)
    score += 0.0 if time_hour is None else time_hour % 86_400 / 86_400
    odds = np.exp([score, -score, 0.0])
    return {
        "late.probability": [1 / (1 + np.exp(-score))],
        "size.probability": (odds / odds.sum()).tolist(),
        "delay.value": [10 * score],
        "size.label": [CLASSES[int(odds.argmax())]],
    }


def card(model: bytes) -> dict[str, Any]:
    """What the export writes beside such a model."""
    outputs = [expected(*row) for row in zip(*ROWS.values(), strict=True)]
    return {
        "format": 1,
        "name": "tiny",
        "description": "",
        "sha256": hashlib.sha256(model).hexdigest(),
        "opset": 20,
        "inputs": [
            {"name": name, "kind": kind, "type": TYPES[kind][1], "missing": TYPES[kind][2]}
            for name, kind in INPUTS.items()
        ],
        "outputs": [
            {"name": "late.probability", "task": "late", "kind": "binary", "part": "probability"},
            {
                "name": "size.probability",
                "task": "size",
                "kind": "multiclass",
                "part": "probability",
                "classes": CLASSES,
            },
            {
                "name": "delay.value",
                "task": "delay",
                "kind": "regression",
                "part": "value",
                "unit": "min",
                "spread": 5.0,
            },
            {"name": "size.label", "task": "size", "kind": "multiclass", "part": "label", "classes": CLASSES},
        ],
        "key": ["id", "origin"],
        "tasks": {},
        "golden": {"inputs": ROWS, "outputs": {name: [row[name] for row in outputs] for name in outputs[0]}},
        "params_sha256": "",
        "data_sha256": "",
    }


def write_model(folder: Path, made: ModelProto | None = None, **changes: Any) -> Path:
    """Write model.onnx and card.json to `folder`; return the former's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = (made or graph()).SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "card.json").write_text(json.dumps(card(content) | changes))
    return folder / "model.onnx"
