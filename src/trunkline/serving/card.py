"""card.json: what the model takes and gives, for programs that do not open the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from trunkline.errors import ArtifactError
from trunkline.files import read_json
from trunkline.serving.cells import READERS
from trunkline.serving.feeds import Input

FORMAT = 1


class Output(NamedTuple):
    """An output of the model: `part` of the prediction for `task`."""

    name: str
    task: str
    part: str
    classes: tuple[str, ...]
    """Of an output with several columns, such as the probabilities of classes, one per column; else empty."""

    spread: float
    """Of what is in the target's unit, such as a value or an end of its interval: the target's standard deviation over
    the training rows; else 0."""


class Card(NamedTuple):
    """The content of card.json, the parts that serving reads with names of their own."""

    inputs: list[Input]
    outputs: list[Output]
    key: list[str]
    sha256: str
    content: dict[str, Any]


def read_card(path: Path) -> Card:
    """Read card.json.

    Raises:
        ArtifactError: It is missing, of another format version, or lacks something.
    """
    content = read_json(path)
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise ArtifactError(
            f"{path}: has format {version!r}; this trunkline reads format {FORMAT}. Export the model again with it"
        )
    try:
        return Card(
            inputs=[_input(entry) for entry in content["inputs"]],
            outputs=[_output(entry) for entry in content["outputs"]],
            key=[str(name) for name in content["key"]],
            sha256=str(content["sha256"]),
            content=content,
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise ArtifactError(f"{path}: is damaged ({type(fault).__name__}: {fault}); export the model again") from fault


def _input(entry: dict[str, Any]) -> Input:
    if entry["kind"] not in READERS:
        raise ValueError(f"kind {entry['kind']!r} of input {entry['name']!r} is unknown")
    return Input(entry["name"], entry["kind"])


def _output(entry: dict[str, Any]) -> Output:
    classes = tuple(entry.get("classes") or ()) if entry["part"] != "label" else ()
    return Output(entry["name"], entry["task"], entry["part"], classes, float(entry.get("spread") or 0.0))
