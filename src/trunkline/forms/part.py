"""A model of some of the tasks: the graph without the other heads, with a card of its own.

onnxruntime computes every output whichever is asked for, so a service of one light task alone is cheaper with a model
of that task alone. What it says of the task is what the whole model says.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.errors import ArtifactError, GateError, ParamsError
from trunkline.files import seal, sha256, to_json, write_bytes, write_json
from trunkline.serving.feeds import Feeds
from trunkline.serving.golden import differences, golden_feeds
from trunkline.serving.session import Model, open_model, read_again

if TYPE_CHECKING:
    import onnx

MODEL, CARD = "model.onnx", "card.json"
OF_THE_WHOLE = ("composite", "parity", "reference")  # what the card says of all tasks together


def write_part(model: Path, tasks: list[str], target: Path) -> Path:
    """Write the part of a model that gives some of its tasks.

    Args:
        model: model.onnx with its card.json beside it.
        tasks: Names of tasks.
        target: Folder for model.onnx and card.json.

    Returns:
        The new model.onnx.

    Raises:
        ParamsError: The model has no such task, or `target` is its own folder.
        ArtifactError: The model is refused.
        GateError: The part gives other answers than the whole.
    """
    whole = open_model(model)
    _refuse_unknown(whole, tasks)
    if target.resolve() == model.parent.resolve():
        raise ParamsError(f"{target}: holds the whole model; give another folder")
    graph, outputs = _cut(read_again(whole), whole, tasks)
    card = _card(whole, tasks, {entry.name for entry in graph.graph.input}, outputs)
    _describe(graph, card)
    part = graph.SerializeToString(deterministic=True)
    write_bytes(target / MODEL, part)
    write_json(target / CARD, card | {"sha256": sha256(target / MODEL)})
    seal(target, [MODEL, CARD])
    _refuse_other_answers(whole, open_model(target / MODEL))
    return target / MODEL


def _refuse_unknown(whole: Model, tasks: list[str]) -> None:
    known = list(dict.fromkeys(part.task for part in whole.parts))
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            held = f"did you mean '{near[0]}'?" if near else f"its tasks are {', '.join(known)}"
            raise ParamsError(f"--tasks: the model has no task '{task}'; {held}")


def _cut(content: bytes, whole: Model, tasks: list[str]) -> tuple[onnx.ModelProto, list[str]]:
    """Return the graph of some tasks, without inputs that none of them reads."""
    import onnx
    from onnx.utils import Extractor

    graph = onnx.load_model_from_string(content)
    outputs = [part.name for part in whole.parts if part.task in tasks]
    cut = Extractor(graph).extract_model([entry.name for entry in graph.graph.input], outputs)
    read = {name for node in cut.graph.node for name in node.input}
    kept = [entry for entry in cut.graph.input if entry.name in read]
    if not kept:
        raise ArtifactError(f"{whole.path}: tasks {', '.join(tasks)} read no column; there is nothing to extract")
    del cut.graph.input[:]
    cut.graph.input.extend(kept)
    cut.producer_name, cut.graph.name = graph.producer_name, graph.graph.name
    cut.metadata_props.extend(graph.metadata_props)
    return cut, outputs


def _card(whole: Model, tasks: list[str], inputs: Iterable[str], outputs: list[str]) -> dict[str, Any]:
    card, kept = whole.card, set(inputs)
    golden = card["golden"]
    return {
        **{key: value for key, value in card.items() if key not in OF_THE_WHOLE},
        "inputs": [entry for entry in card["inputs"] if entry["name"] in kept],
        "outputs": [entry for entry in card["outputs"] if entry["task"] in tasks],
        "tasks": {name: task for name, task in card["tasks"].items() if name in tasks},
        "gates": [gate for gate in card.get("gates", []) if gate.get("task") in tasks],
        "golden": {
            "inputs": {name: cells for name, cells in golden["inputs"].items() if name in kept},
            "outputs": {name: golden["outputs"][name] for name in outputs},
        },
        "part_of": {"sha256": whole.sha256, "tasks": list(card["tasks"])},
    }


def _describe(graph: onnx.ModelProto, card: dict[str, Any]) -> None:
    """Make the graph's own metadata say what its card says."""
    for entry in graph.metadata_props:
        key = entry.key.removeprefix("trunkline.")
        if key in ("inputs", "outputs"):
            entry.value = to_json(card[key]).strip()


def _refuse_other_answers(whole: Model, part: Model) -> None:
    """Demand that the part gives what the whole gives, on the golden rows and on words and numbers never seen."""
    for feeds in (golden_feeds(whole.card["golden"]["inputs"], whole.inputs), _odd_feeds(whole)):
        right = whole.run(feeds)
        found = part.run({name: feeds[name] for name, _ in part.inputs})
        for output in part.parts:
            if differences(found[output.name], right[output.name].tolist(), output.part, output.spread):
                raise GateError(f"{part.path}: output '{output.name}' differs from that of {whole.path}; do not use it")


def _odd_feeds(model: Model) -> Feeds:
    odd: dict[str, list[Any]] = {
        "numeric": [0.0, -1e308, 1e308, np.nan, np.inf],
        "categorical": ["", "a word never seen", "0", "é", " "],
        "timestamp": [0, 86_399, -1, 2**31, np.iinfo(np.int64).min],
    }
    kinds = {"numeric": np.float64, "categorical": object, "timestamp": np.int64}
    return {name: np.array(odd[kind], kinds[kind]).reshape(-1, 1) for name, kind in model.inputs}
