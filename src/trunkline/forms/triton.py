"""A model repository for NVIDIA Triton: NAME/config.pbtxt and NAME/VERSION/model.onnx.

Each version keeps its card.json, so that `trunkline serve DIR/NAME` serves the same folders. Triton knows no card: its
clients send what the graph takes (float64 with NaN, text with "", int64 with the smallest), and nothing else.

Source: https://github.com/triton-inference-server/common, protobuf/model_config.proto
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trunkline.files import sha256, write_bytes, write_json, write_text
from trunkline.serving.predict import BATCH
from trunkline.serving.session import Model, open_model, read_again

MODEL, CARD, CONFIG = "model.onnx", "card.json", "config.pbtxt"
TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


def write_triton(model: Path, repository: Path) -> Path:
    """Add a model to a Triton repository as its newest version.

    The same model is added once: where the newest version is this model already, nothing is written.

    Args:
        model: model.onnx with its card.json beside it.
        repository: Folder that `tritonserver --model-repository` is given.

    Returns:
        The folder of the version.

    Raises:
        ArtifactError: The model is refused, or changed while it was copied.
    """
    opened = open_model(model)
    folder = repository / str(opened.card["name"])
    newest = max(_numbers(folder), default=0)
    place = folder / str(newest)
    if newest and (place / MODEL).exists() and sha256(place / MODEL) == opened.sha256:
        return place
    place = folder / str(newest + 1)
    write_json(place / CARD, opened.card)
    write_bytes(place / MODEL, read_again(opened))
    write_text(folder / CONFIG, config(opened))
    return place


def config(model: Model) -> str:
    """Return config.pbtxt of an opened model.

    Requests that wait are put together (`dynamic_batching`) but none waits for others: a net of this size gains little
    from large batches, and a row's last bits depend on its batch.
    """
    session = model.session
    lines = [
        f"name: {json.dumps(model.card['name'])}",
        'backend: "onnxruntime"',
        f"max_batch_size: {BATCH}",
        *_tensors("input", session.get_inputs()),
        *_tensors("output", session.get_outputs()),
        "dynamic_batching { }",
        "instance_group [ { count: 1 kind: KIND_CPU } ]",
        *(_parameter(key, "1") for key in ("intra_op_thread_count", "inter_op_thread_count")),
        _parameter("sha256", model.sha256),
    ]
    return "\n".join(lines) + "\n"


def _tensors(kind: str, entries: Iterable[Any]) -> list[str]:
    """Return inputs or outputs; Triton's dims leave the rows out."""
    return [
        f"{kind} {{ name: {json.dumps(entry.name, ensure_ascii=False)} data_type: {TYPES[entry.type]} "
        f"dims: [ {entry.shape[1]} ] }}"
        for entry in entries
    ]


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


def _numbers(folder: Path) -> list[int]:
    found = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in found if re.fullmatch(r"[1-9][0-9]*", name)]
