"""All inputs together: fitted once on training rows, then the same encoding in training and in the exported graph.

The string part is an ONNX graph (`front`) that onnxruntime runs in both places; the rest is a torch module
(`Prepare`) that training runs and export traces. Nothing is written twice, so nothing can differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.columns.base import ColumnState, Kind
from trunkline.columns.categorical import FIRST_WORD, MISSING, UNSEEN

if TYPE_CHECKING:
    import onnx
    import torch

    from trunkline.columns._modules import Prepare


class Encoder:
    """The fitted inputs, in the order of params.yaml.

    Args:
        states: State of each column, by name.
    """

    version = 1

    def __init__(self, states: dict[str, ColumnState]) -> None:
        self.states = states

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Encoder:
        """Return the encoder that `to_json` described."""
        return cls(content["columns"])

    def to_json(self) -> dict[str, Any]:
        """Return the whole encoder as plain JSON."""
        return {"version": self.version, "columns": self.states, "features": self.features}

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of the columns of one kind, in order."""
        return [name for name, state in self.states.items() if state["kind"] == kind]

    @property
    def inputs(self) -> list[tuple[str, Kind]]:
        """(name, kind) of every input, in order."""
        return [(name, state["kind"]) for name, state in self.states.items()]

    @property
    def vocabulary_sizes(self) -> list[int]:
        """Number of codes of each categorical column, unseen and missing included."""
        return [FIRST_WORD + len(self.states[name]["vocabulary"]) for name in self.of_kind("categorical")]

    @property
    def features(self) -> int:
        """Width of the prepared float features."""
        numeric = sum(1 + int(self.states[name]["flag"]) for name in self.of_kind("numeric"))
        moments = [self.states[name] for name in self.of_kind("timestamp")]
        return numeric + sum(2 * len(s["cycles"]) + int(s["age"]) + int(s["flag"]) for s in moments)

    def prepare(self) -> Prepare:
        """Return the torch module from raw numbers and codes to what the trunk reads."""
        from trunkline.columns._modules import Prepare

        return Prepare(self.states)

    def front(self) -> onnx.ModelProto:
        """Return the string part of the graph: one LabelEncoder per categorical column, named as the column."""
        return _front({name: self.states[name]["vocabulary"] for name in self.of_kind("categorical")})


def code_name(column: str) -> str:
    """Return the graph's name for the codes of a categorical column."""
    return f"code/{column}"


def _front(vocabularies: dict[str, list[str]]) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    nodes, inputs, outputs = [], [], []
    for name, vocabulary in vocabularies.items():
        codes = [MISSING, *range(FIRST_WORD, FIRST_WORD + len(vocabulary))]
        nodes.append(
            helper.make_node(
                "LabelEncoder", [name], [code_name(name)], name=f"front/{name}", domain="ai.onnx.ml",
                keys_strings=["", *vocabulary], values_int64s=codes, default_int64=UNSEEN,
            )
        )  # fmt: skip
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]))
        outputs.append(helper.make_tensor_value_info(code_name(name), TensorProto.INT64, ["rows", 1]))
    graph = helper.make_graph(nodes, "front", inputs, outputs)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="trunkline")


class EncoderRunner:
    """Runs an encoder over blocks of raw feeds.

    Args:
        encoder: The fitted encoder.
        front: Bytes of the front graph.
        threads: Threads onnxruntime may use.
    """

    def __init__(self, encoder: Encoder, front: bytes, threads: int) -> None:
        self.encoder = encoder
        self.categorical = encoder.of_kind("categorical")
        self.prepare = encoder.prepare()
        self.session = _session(front, threads) if self.categorical else None

    def __call__(self, feeds: dict[str, np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return (features float32 [rows, width], codes int32 [rows, columns]) for raw feeds [rows, 1] each."""
        import torch

        rows = len(next(iter(feeds.values())))
        codes = np.zeros((rows, len(self.categorical)), dtype=np.int64)
        if self.session is not None:
            found = self.session.run(None, {name: feeds[name] for name in self.categorical})
            codes = np.concatenate(found, axis=1)
        raw: list[torch.Tensor] = []
        places = {name: place for place, name in enumerate(self.categorical)}
        for name, kind in self.encoder.inputs:
            value = codes[:, places[name]][:, None] if kind == "categorical" else feeds[name]
            raw.append(torch.from_numpy(np.array(value)))
        with torch.inference_mode():
            features, prepared_codes = self.prepare(raw)
        return features.numpy(), prepared_codes.numpy().astype(np.int32)


def _session(front: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(front, options, providers=["CPUExecutionProvider"])
