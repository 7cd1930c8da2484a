"""The body of an inference request, read: rows as an Arrow table, and which outputs are wanted in which form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from trunkline.service.datatypes import DATATYPES, from_bytes, from_json
from trunkline.service.limits import Limits
from trunkline.service.refusal import Refusal

BARE = (b"NaN", b"Infinity")  # no JSON, but what tritonclient writes for a number that is missing


class Wanted(NamedTuple):
    """An output that the client asked for."""

    name: str
    binary: bool


class Question(NamedTuple):
    """What a client asked."""

    id: str | None
    table: Any
    """`pyarrow.Table` with a column per input sent."""

    outputs: list[Wanted]
    """Empty = all of them."""

    binary: bool
    """Whether outputs are binary where all are wanted."""


def read_question(body: bytes, json_length: int | None, limits: Limits) -> Question:
    """Read an inference request.

    Args:
        body: JSON, with binary tensor data behind it or not.
        json_length: Bytes of the JSON, where the header Inference-Header-Content-Length says so.
        limits: The most rows and levels of JSON.

    Raises:
        Refusal: 400 or 413, with the place of what is wrong.
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        raise Refusal(400, f"Inference-Header-Content-Length is {json_length}; the body has {len(body)} bytes")
    content = _load(body if json_length is None else body[:json_length])
    _refuse_deep(content, limits.depth)
    binary = memoryview(body)[len(body) if json_length is None else json_length :]
    named, outputs = content.get("id"), content.get("outputs")
    if not isinstance(named, str | None):
        raise Refusal(400, f"'id' is {_shown(named)}; expected text")
    everything_binary = _parameters(content, "the request").get("binary_data_output") is True
    return Question(
        id=named,
        table=_read_inputs(_objects(content.get("inputs"), "inputs"), binary, limits),
        outputs=_read_outputs(_objects(outputs, "outputs"), everything_binary) if outputs else [],
        binary=everything_binary,
    )


def _load(text: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        content = _load_bare(text, fault) if any(word in text for word in BARE) else _refuse_json(fault)
    if not isinstance(content, dict):
        raise Refusal(400, f"the body is {_shown(content)}; expected an object with 'inputs'")
    return content


def _load_bare(text: bytes, fault: Exception) -> Any:
    """Read JSON that holds NaN or Infinity, with the slower parser that knows them."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _refuse_json(fault)


def _refuse_json(fault: Exception) -> Any:
    raise Refusal(400, f"the body is not JSON: {fault}") from None


def _refuse_deep(value: Any, levels: int) -> None:
    """Refuse JSON of more levels than anything here needs, before something recursive meets it."""
    layer = [value]
    for _ in range(levels):
        layer = [item for part in layer for item in (part.values() if isinstance(part, dict) else part)]
        layer = [item for item in layer if isinstance(item, dict | list)]
        if not layer:
            return
    raise Refusal(400, f"the body has more than {levels} levels of JSON")


def _objects(value: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise Refusal(400, f"'{place}' is {_shown(value)}; expected a list of objects, one per tensor")
    names = [item.get("name") for item in value]
    for name in names:
        if not isinstance(name, str):
            raise Refusal(400, f"'{place}': a tensor's name is {_shown(name)}; expected text")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(400, f"'{place}': '{twice}' is there {names.count(twice)} times; send it once")
    return value


def _parameters(holder: dict[str, Any], place: str) -> dict[str, Any]:
    found = holder.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise Refusal(400, f"'parameters' of {place} is {_shown(found)}; expected an object")
    return found or {}


def _read_outputs(tensors: Iterable[dict[str, Any]], otherwise: bool) -> list[Wanted]:
    return [
        Wanted(item["name"], _parameters(item, f"output '{item['name']}'").get("binary_data", otherwise) is True)
        for item in tensors
    ]


def _read_inputs(tensors: list[dict[str, Any]], binary: memoryview, limits: Limits) -> Any:
    columns: dict[str, Any] = {}
    at = 0
    first = (tensors[0]["name"], _rows(tensors[0], limits))
    for tensor in tensors:
        name, rows = tensor["name"], _rows(tensor, limits)
        if rows != first[1]:
            raise Refusal(400, f"input '{name}' has {rows} rows, input '{first[0]}' {first[1]}; send all of one length")
        size = _binary_size(tensor)
        if size is None:
            columns[name] = from_json(name, tensor["datatype"], _flat(tensor))
        elif size > len(binary) - at:
            raise Refusal(400, f"input '{name}': binary_data_size is {size}; {len(binary) - at} bytes are left for it")
        else:
            columns[name] = from_bytes(name, tensor["datatype"], binary[at : at + size], rows)
            at += size
    if at != len(binary):
        raise Refusal(400, f"{len(binary) - at} bytes stand behind the data of the last input")
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _rows(tensor: dict[str, Any], limits: Limits) -> int:
    name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise Refusal(400, f"input '{name}': datatype is {_shown(datatype)}; expected one of {', '.join(DATATYPES)}")
    if not isinstance(shape, list) or not shape or not all(type(length) is int and length >= 0 for length in shape):
        raise Refusal(400, f"input '{name}': shape is {_shown(shape)}; expected [rows, 1]")
    if len(shape) > 2 or shape[1:] not in ([], [1]):
        raise Refusal(400, f"input '{name}': shape is {_shown(shape)}; expected [rows, 1]: one cell per row")
    if shape[0] > limits.rows:
        raise Refusal(413, f"input '{name}' has {shape[0]} rows; at most {limits.rows} are answered at once")
    return int(shape[0])


def _binary_size(tensor: dict[str, Any]) -> int | None:
    size = _parameters(tensor, f"input '{tensor['name']}'").get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise Refusal(400, f"input '{tensor['name']}': binary_data_size is {_shown(size)}; expected a number of bytes")
    if size is not None and "data" in tensor:
        raise Refusal(400, f"input '{tensor['name']}' has both data and binary_data_size; send one of them")
    return size


def _flat(tensor: dict[str, Any]) -> list[Any]:
    """Return the cells of JSON data, which may be nested as its shape is, or flat."""
    name, shape, data = tensor["name"], tensor["shape"], tensor.get("data")
    if not isinstance(data, list):
        raise Refusal(400, f"input '{name}': data is {_shown(data)}; expected a list of {math.prod(shape)} cells")
    if len(data) != shape[0]:
        raise Refusal(400, f"input '{name}': data has {len(data)} entries; its shape {_shown(shape)} says {shape[0]}")
    if len(shape) == 2 and any(type(entry) is list for entry in data):
        for row, entry in enumerate(data):
            if type(entry) is not list or len(entry) != 1:
                raise Refusal(400, f"row {row}: column '{name}': {_shown(entry)} is not a list of one cell")
        return [entry[0] for entry in data]
    return data


def _shown(value: Any) -> str:
    """Return what was found, in few words."""
    if value is None:
        return "missing or null"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
