"""All inputs together: fitted once on training rows, then the same encoding in training and in the exported graph.

The string part is an ONNX graph (`front`) that onnxruntime runs in both places; the rest is a torch module
(`Prepare`) that training runs and export traces. Nothing is written twice, so nothing can differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.columns.base import ColumnState, Kind
from trunkline.columns.categorical import FIRST_WORD, MISSING, UNSEEN
from trunkline.columns.layout import Layout

if TYPE_CHECKING:
    import onnx

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
        return self.layout.width

    @property
    def layout(self) -> Layout:
        """What the prepared features are, in the order in which `Prepare` gives them."""
        numeric, moments = ([self.states[name] for name in self.of_kind(kind)] for kind in ("numeric", "timestamp"))
        found = [(place, False) for place in range(len(numeric))]
        found += [(place, True) for place, state in enumerate(numeric) if state["flag"]]
        for place, state in enumerate(moments, start=len(numeric)):
            numbers = 2 * len(state["cycles"]) + int(state["age"])
            found += [(place, False)] * numbers + [(place, True)] * int(state["flag"])
        return Layout(tuple(place for place, _ in found), tuple(flag for _, flag in found))

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
