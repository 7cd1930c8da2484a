"""An answer as the protocol writes it: JSON, with binary tensor data behind it where that was asked for."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

import orjson

from trunkline.service.datatypes import to_bytes, to_json
from trunkline.service.question import Question, Wanted
from trunkline.service.refusal import Refusal
from trunkline.service.shelf import Served
from trunkline.serving.cells import Values

JSON, BINARY = "application/json", "application/octet-stream"
LENGTH = "Inference-Header-Content-Length"


class Answer(NamedTuple):
    """The body of a response, and its headers."""

    body: bytes
    headers: dict[str, str]


def wanted_outputs(question: Question, served: Served) -> list[Wanted]:
    """Return the outputs to send, in the order in which the client named them.

    Raises:
        Refusal: 400, the model has no such output.
    """
    for name, _ in question.outputs:
        if name not in served.model.outputs:
            near = difflib.get_close_matches(name, served.model.outputs, n=1)
            held = f"did you mean '{near[0]}'?" if near else f"its outputs are {', '.join(served.model.outputs)}"
            raise Refusal(400, f"model '{served.name}' has no output '{name}'; {held}")
    return question.outputs or [Wanted(name, question.binary) for name in served.model.outputs]


def write_answer(question: Question, served: Served, wanted: list[Wanted], found: dict[str, Values]) -> Answer:
    """Return the wanted outputs for the client."""
    datatypes = served.datatypes
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, as_bytes in wanted:
        values = found[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatypes[name], "shape": list(values.shape)}
        if as_bytes:
            binary.append(to_bytes(values))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = to_json(values)
        tensors.append(tensor)
    named = {} if question.id is None else {"id": question.id}
    head = orjson.dumps(
        {"model_name": served.name, "model_version": served.version, **named, "outputs": tensors},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    if not binary:
        return Answer(head, {"content-type": JSON})
    return Answer(b"".join([head, *binary]), {"content-type": BINARY, LENGTH: str(len(head))})
