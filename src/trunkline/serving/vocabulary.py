"""Which words an exported model knows, read from its LabelEncoders.

A service counts with it how many cells hold a word that the model never saw; the graph itself does not say.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the numbers of the fields below.
"""

from __future__ import annotations

from trunkline.serving.one_file import fields

GRAPH, NODE = 7, 1  # of a model, of a graph
INPUT, OPERATOR, ATTRIBUTE = 1, 4, 5  # of a node
NAME, STRINGS = 1, 9  # of an attribute


def known_words(content: bytes) -> dict[str, frozenset[str]]:
    """Return the words of each input that goes through a LabelEncoder; "", which is missing, among them.

    Args:
        content: The bytes of an ONNX file.
    """
    nodes = [
        (node.start, node.stop)
        for graph in fields(content, 0, len(content))
        if graph.number == GRAPH
        for node in fields(content, graph.start, graph.stop)
        if node.number == NODE
    ]
    encoders = (_parts(content, *node) for node in nodes)
    return {
        parts[INPUT][0].decode(): frozenset(_keys(parts.get(ATTRIBUTE, [])))
        for parts in encoders
        if parts.get(OPERATOR) == [b"LabelEncoder"]
    }


def _parts(content: bytes, start: int, stop: int) -> dict[int, list[bytes]]:
    """Return the fields of a message by number."""
    found: dict[int, list[bytes]] = {}
    for field in fields(content, start, stop):
        found.setdefault(field.number, []).append(content[field.start : field.stop])
    return found


def _keys(attributes: list[bytes]) -> list[str]:
    parts = [_parts(attribute, 0, len(attribute)) for attribute in attributes]
    return [word.decode() for part in parts if part[NAME] == [b"keys_strings"] for word in part.get(STRINGS, [])]
