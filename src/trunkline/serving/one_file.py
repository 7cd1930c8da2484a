"""Refuse a model that is more than one file with one graph, before onnxruntime opens it.

A tensor with external data makes onnxruntime read other files; a model-local function is code that ours never
has. Both are found by walking the protobuf fields that can hold them, so that a service needs no `onnx` package.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the numbers of the fields below.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Message -> field -> the message that stands there. Fields of no interest are skipped unread.
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
REFUSED = {
    "function": "model-local functions",
    "training": "training graphs",
    "external": "tensors kept in other files",
}


class Field(NamedTuple):
    """One protobuf field: its number and, where it has a length, where its content lies."""

    number: int
    start: int
    stop: int


def foreign_part(content: bytes) -> str | None:
    """Return what `content` holds that an exported model never does, or None.

    Args:
        content: The bytes of an ONNX file.

    Raises:
        ValueError: The bytes are no protobuf message.
    """
    waiting = [("model", 0, len(content))]
    while waiting:
        message, start, stop = waiting.pop()
        if message in REFUSED:
            return REFUSED[message]
        nested = NESTED[message]
        waiting += [(nested[f.number], f.start, f.stop) for f in fields(content, start, stop) if f.number in nested]
    return None


def fields(content: bytes, start: int, stop: int) -> Iterator[Field]:
    """Give the fields with a length of the message that lies between two places; skip the others.

    Raises:
        ValueError: There is no protobuf message.
    """
    at = start
    while at < stop:
        key, at = _varint(content, at)
        number, form = key >> 3, key & 7
        if form == BYTES:
            length, at = _varint(content, at)
            yield Field(number, at, at + length)
            at += length
        elif form == VARINT:
            at = _varint(content, at)[1]
        elif form in (FIXED64, FIXED32):
            at += 8 if form == FIXED64 else 4
        else:
            raise ValueError(f"byte {at}: no protobuf field has form {form}")
    if at != stop:
        raise ValueError(f"byte {at}: a field reaches beyond its message, which ends at byte {stop}")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the number that starts at byte `at`, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError(f"byte {at}: a number is cut off")
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
