"""Tensors of the protocol as columns of cells, from JSON and from bytes, and back.

A cell keeps the type that the client gave it; what it means to the model is decided by `serving.feeds`, as for a
file. Arrow alone would make 1 of true and of 1.5, so the types of JSON cells are held here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from trunkline.service.refusal import Refusal
from trunkline.serving.cells import Values
from trunkline.serving.cells.base import quoted

NOTHING = type(None)
LENGTH = struct.Struct("<I")  # in front of each text in binary data


class Datatype(NamedTuple):
    """One of the protocol's datatypes."""

    arrow: Any
    cells: frozenset[type]
    """Python types that its cells have in JSON."""

    expected: str
    """The same in words."""

    little: str
    """numpy's name of a cell in binary data; "" for text."""


def _whole(bits: int, signed: bool) -> Datatype:
    arrow = getattr(pa, f"{'' if signed else 'u'}int{bits}")()
    kind = f"<{'i' if signed else 'u'}{bits // 8}"
    return Datatype(arrow, frozenset({int, NOTHING}), f"a whole number of {bits} bits or null", kind)


def _floating(bits: int) -> Datatype:
    arrow = getattr(pa, f"float{bits}")()
    return Datatype(arrow, frozenset({int, float, NOTHING}), "a number or null", f"<f{bits // 8}")


DATATYPES: dict[str, Datatype] = {
    "BOOL": Datatype(pa.bool_(), frozenset({bool, NOTHING}), "true, false or null", "|u1"),
    **{f"INT{bits}": _whole(bits, True) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": _whole(bits, False) for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": _floating(bits) for bits in (16, 32, 64)},
    "BYTES": Datatype(pa.string(), frozenset({str, NOTHING}), "text or null", ""),
}
OF_ONNX = {
    "tensor(bool)": "BOOL",
    "tensor(int64)": "INT64",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def from_json(column: str, datatype: str, cells: list[Any]) -> Any:
    """Return JSON cells as an Arrow array; null = missing.

    Raises:
        Refusal: 400, a cell is not of the datatype; row and column are named.
    """
    kind = DATATYPES[datatype]
    if set(map(type, cells)) <= kind.cells:
        try:
            return pa.array(cells, kind.arrow)
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            pass  # a number outside of its type, or half a character; found below
    return pa.array([_cell(column, row, kind, cell) for row, cell in enumerate(cells)], kind.arrow)


def _cell(column: str, row: int, kind: Datatype, cell: Any) -> Any:
    """Return one cell; a whole number that no float holds exactly as the nearest one."""
    try:
        if type(cell) in kind.cells:
            exact = float(cell) if float in kind.cells and cell is not None else cell
            return pa.scalar(exact, kind.arrow).as_py()
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        pass
    raise Refusal(400, f"row {row}: column '{column}': {quoted(cell)} is not {kind.expected}")


def from_bytes(column: str, datatype: str, content: memoryview, rows: int) -> Any:
    """Return binary tensor data as an Arrow array.

    Raises:
        Refusal: 400, the data holds another number of cells than `rows`.
    """
    kind = DATATYPES[datatype]
    if not kind.little:
        return pa.array(list(_texts(column, content, rows)), pa.binary())
    dtype = np.dtype(kind.little)
    if len(content) != rows * dtype.itemsize:
        raise Refusal(
            400,
            f"input '{column}': has {len(content)} bytes of binary data; {rows} rows of {datatype} "
            f"take {rows * dtype.itemsize}",
        )
    cells = np.frombuffer(content, dtype)
    return pa.array(cells != 0) if datatype == "BOOL" else pa.array(cells)


def _texts(column: str, content: memoryview, rows: int) -> Iterator[bytes]:
    at = 0
    for row in range(rows):
        start = at + LENGTH.size
        length = LENGTH.unpack_from(content, at)[0] if start <= len(content) else 0
        at = start + length
        if at > len(content):
            raise Refusal(400, f"row {row}: input '{column}': its binary data ends within this text")
        yield bytes(content[start:at])
    if at != len(content):
        raise Refusal(400, f"input '{column}': has {len(content) - at} bytes of binary data behind its {rows} texts")


def to_json(values: Values) -> Any:
    """Return an output as what orjson writes as a flat list."""
    return values.ravel().tolist() if values.dtype == object else np.ascontiguousarray(values.ravel())


def to_bytes(values: Values) -> bytes:
    """Return an output as binary tensor data, row by row."""
    if values.dtype != object:
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return b"".join(_with_length(map(str.encode, values.ravel())))


def _with_length(texts: Iterable[bytes]) -> Iterator[bytes]:
    for text in texts:
        yield LENGTH.pack(len(text))
        yield text
