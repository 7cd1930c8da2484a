"""One ONNX graph from raw rows to named, calibrated predictions.

    front   a LabelEncoder per categorical column     words to codes
    core    the torch modules, traced                 numbers, moments and codes to predictions, intervals and sets
    back    comparisons and lookups                   probabilities to labels

Everything that names a machine is stripped (the exporter leaves absolute paths and stack traces in each node),
names are made anew and the file is serialised deterministically: same weights, same bytes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trunkline.columns.encoder import Encoder, code_name
from trunkline.nets.network import Network
from trunkline.tasks import TaskState, kind_of
from trunkline.tasks._modules import Correction, Predict, Region, Regions, derived_parts, region_parts
from trunkline.tasks.given import is_joint

if TYPE_CHECKING:
    import onnx

OPSET = 20
IR_VERSION = 10


class Model(nn.Module):
    """Prepared inputs, network and predictions as one module over separate input columns.

    Args:
        encoder: The fitted columns.
        network: The fitted network.
        states: The tasks' states, in the order of the heads.
        corrections: Calibration per task.
        regions: What makes the task's interval or set, per task; None = it has none. Default: no task has one.
    """

    def __init__(
        self,
        encoder: Encoder,
        network: Network,
        states: list[TaskState],
        corrections: list[Correction],
        regions: list[Region | None] | None = None,
    ) -> None:
        super().__init__()
        self.prepare, self.network, self.predict = encoder.prepare(), network, Predict(states, corrections)
        self.regions = Regions(states, regions or [None] * len(states))

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return one prediction per task for raw inputs [rows, 1] each, in the encoder's order.

        Behind them what follows from them, conditional probabilities (see `conditional_outputs`), then the regions.
        """
        features, codes = self.prepare(list(raw))
        of_heads = self.predict.of_heads(self.network.combined(self.network(features, codes)))
        predictions = self.predict.joint(of_heads)
        conditional = [of_heads[place] for place in self.predict.joint.joined]
        return (*predictions, *self.predict.derived(predictions), *conditional, *self.regions(predictions))


def example_inputs(encoder: Encoder, rows: int = 2) -> tuple[Tensor, ...]:
    """Return inputs of the right types for tracing."""
    types = {"numeric": torch.float64, "categorical": torch.int64, "timestamp": torch.int64}
    return tuple(torch.zeros(rows, 1, dtype=types[kind]) for _, kind in encoder.inputs)


def build_graph(model: Model, encoder: Encoder, tasks: dict[str, TaskState], properties: dict[str, str]) -> bytes:
    """Return the bytes of the whole ONNX model.

    Args:
        model: The torch side, in evaluation mode.
        encoder: The fitted columns.
        tasks: The tasks' states by name, in the order of the heads.
        properties: The only metadata the file carries.
    """
    import onnx
    from onnx import helper

    predictions = {main_output(name, state): kind_of(state).parts(state)[0].width for name, state in tasks.items()}
    predictions |= derived_outputs(tasks)
    conditional = conditional_outputs(tasks)
    regions = region_outputs(tasks, dict(zip(tasks, model.regions.regions, strict=True)))
    core = _trace(model.eval(), encoder, [*predictions, *conditional, *regions])
    front = encoder.front()
    back_nodes, back_values, labels = _labels(tasks)
    graph = helper.make_graph(
        [*front.graph.node, *core.graph.node, *back_nodes],
        "trunkline",
        [_input(name, kind) for name, kind in encoder.inputs],
        [
            *map(_output, predictions, predictions.values()), *labels,
            *map(_output, conditional, conditional.values()), *map(_region, regions, regions.values()),
        ],
        initializer=[*core.graph.initializer, *back_values],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 4)]
    merged = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="trunkline")
    helper.set_model_props(merged, dict(sorted(properties.items())))
    onnx.checker.check_model(merged, full_check=True)
    return bytes(merged.SerializeToString(deterministic=True))


def _trace(model: Model, encoder: Encoder, outputs: list[str]) -> onnx.ModelProto:
    names = [code_name(name) if kind == "categorical" else name for name, kind in encoder.inputs]
    inputs = example_inputs(encoder)
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, inputs, dynamo=True, opset_version=OPSET, verbose=False, external_data=False,
            dynamic_shapes=(tuple({0: "rows"} for _ in inputs),),
            input_names=names, output_names=outputs,
        )  # fmt: skip
    assert program is not None
    return _renamed(program.model_proto, {*names, *outputs})


class _quiet:
    """Silences a logger for a while: the exporter reports what is no concern of the user."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *fault: object) -> None:
        self.logger.setLevel(self.level)


def _renamed(core: onnx.ModelProto, kept: set[str]) -> onnx.ModelProto:
    """Give every inner value and node a name that says only its place, and drop what the exporter noted."""
    if core.functions:
        raise RuntimeError("the exporter left model-local functions in the graph")
    names: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return names.setdefault(name, name if name in kept else f"core/{len(names)}")

    for initializer in core.graph.initializer:
        initializer.name = new(initializer.name)
        initializer.ClearField("doc_string")
        del initializer.metadata_props[:]
    for place, node in enumerate(core.graph.node):
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise RuntimeError(f"node {node.name} holds a graph of its own")
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        node.name = f"core/{place}/{node.op_type}"
        node.ClearField("doc_string")
        del node.metadata_props[:]
    return core


def main_output(name: str, state: TaskState) -> str:
    """Return the graph's name for the prediction of a task that is scored: its probability, its value..."""
    return f"{name}.{kind_of(state).parts(state)[0].name}"


def derived_outputs(tasks: Mapping[str, TaskState]) -> dict[str, int]:
    """Return the graph's names of what follows from the predictions, in the order of `Predict.derived`, with widths."""
    return {f"{name}.{part.name}": part.width for name, state in tasks.items() for part in derived_parts(state)}


def conditional_outputs(tasks: Mapping[str, TaskState]) -> dict[str, int]:
    """Return the graph's names for what binary tasks that are given another say where it has the value, with widths."""
    return {f"{name}.conditional": 1 for name, state in tasks.items() if is_joint(state)}


def _input(name: str, kind: str) -> Any:
    from onnx import TensorProto, helper

    types = {"numeric": TensorProto.DOUBLE, "categorical": TensorProto.STRING, "timestamp": TensorProto.INT64}
    return helper.make_tensor_value_info(name, types[kind], ["rows", 1])


def region_outputs(tasks: Mapping[str, TaskState], regions: Mapping[str, Region | None]) -> dict[str, TaskState]:
    """Return the graph's names of intervals and sets, in the order in which `Regions` gives them, with their task's.

    Args:
        tasks: The tasks' states by name.
        regions: What makes a task's interval or set, for the tasks that have one.
    """
    having = {name: state for name, state in tasks.items() if regions.get(name)}
    return {f"{name}.{part}": state for name, state in having.items() for part in region_parts(state)}


def _output(name: str, width: int) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])


def _region(name: str, state: TaskState) -> Any:
    from onnx import TensorProto, helper

    words = kind_of(state).words(state)
    return (
        _output(name, 1)
        if words is None
        else helper.make_tensor_value_info(name, TensorProto.BOOL, ["rows", len(words)])
    )


def _labels(tasks: dict[str, TaskState]) -> tuple[list[Any], list[Any], list[Any]]:
    """Nodes, constants and outputs that turn probabilities into words, for the tasks that give a label."""
    from onnx import TensorProto, helper

    nodes, constants, outputs = [], [], []
    for name, state in tasks.items():
        rule = kind_of(state).label_rule(state)
        if rule is None:
            continue
        words, place, probability = rule.words, f"back/{name}/place", f"{name}.probability"
        if rule.by == "threshold":
            constants.append(helper.make_tensor(f"back/{name}/threshold", TensorProto.FLOAT, [], [rule.threshold]))
            nodes.append(
                helper.make_node("GreaterOrEqual", [probability, f"back/{name}/threshold"], [f"back/{name}/over"])
            )
            nodes.append(helper.make_node("Cast", [f"back/{name}/over"], [place], to=TensorProto.INT64))
        elif rule.by == "median":
            middle = median_nodes(name, probability, place)
            constants, nodes = [*constants, *middle[0]], [*nodes, *middle[1]]
        else:
            nodes.append(helper.make_node("ArgMax", [probability], [place], axis=1, keepdims=1))
        constants.append(
            helper.make_tensor(f"back/{name}/words", TensorProto.STRING, [len(words)], [w.encode() for w in words])
        )
        nodes.append(helper.make_node("Gather", [f"back/{name}/words", place], [f"{name}.label"]))
        outputs.append(helper.make_tensor_value_info(f"{name}.label", TensorProto.STRING, ["rows", 1]))
    for node in nodes:
        node.name = f"{node.output[0]}/{node.op_type}"
    return nodes, constants, outputs


def median_nodes(name: str, probability: str, place: str) -> tuple[list[Any], list[Any]]:
    """Return constants and nodes that give the place of the first class up to which half of the probability lies."""
    from onnx import TensorProto, helper

    axis, half, up_to, below, whole = (f"back/{name}/{part}" for part in ("axis", "half", "up_to", "below", "whole"))
    constants = [
        helper.make_tensor(axis, TensorProto.INT64, [1], [1]),
        helper.make_tensor(half, TensorProto.FLOAT, [], [0.5]),
    ]
    nodes = [
        helper.make_node("CumSum", [probability, axis], [up_to]),
        helper.make_node("Less", [up_to, half], [below]),
        helper.make_node("Cast", [below], [whole], to=TensorProto.INT64),
        helper.make_node("ReduceSum", [whole, axis], [place], keepdims=1),
    ]
    return constants, nodes
