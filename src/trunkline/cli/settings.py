"""`--set section.key=value`: changes one value of params.yaml and not a byte besides.

ruamel tells where in the text a value stands; writing the whole file anew would keep its comments but not its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.errors import ParamsError
from trunkline.files import write_text
from trunkline.project import PARAMS, parse_project, read_yaml


def change_settings(root: Path, assignments: list[str]) -> list[str]:
    """Change params.yaml, all or nothing.

    Args:
        root: The project's folder.
        assignments: Each `a.b=value`, the value in YAML.

    Returns:
        A line per change: `a.b: old -> new`.

    Raises:
        ParamsError: A word is no assignment or the result no valid params.yaml; the file is as it was.
    """
    path = root / PARAMS
    before = read_yaml(path)
    text, content, lines = path.read_text(encoding="utf-8"), before, []
    for assignment in assignments:
        keys, written = _split(assignment)
        value = _parse(written, assignment)
        lines.append(f"{'.'.join(keys)}: {_said(_get(content, keys))} -> {_said(value)}")
        text = _replace(text, keys, written)
        content = _with(content, keys, value)
    if _parse(text, PARAMS) != content:
        raise ParamsError(f"{', '.join(assignments)}: the value does not fit into one line of YAML; edit {PARAMS}")
    parse_project(content)
    write_text(path, text)
    return lines


def _split(assignment: str) -> tuple[list[str], str]:
    key, equals, written = assignment.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys) or not written.strip():
        raise ParamsError(f"--set {assignment!r}: expected section.key=value, such as training.epochs=5")
    return keys, written.strip()


def _parse(text: str, where: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as fault:
        raise ParamsError(f"--set {where!r}: the value is not YAML; quote it, such as name=\"'a: b'\"") from fault


def _get(content: Any, keys: list[str]) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _with(content: Any, keys: list[str], value: Any) -> Any:
    if not keys:
        return value
    section = content if isinstance(content, dict) else {}
    return {**section, keys[0]: _with(section.get(keys[0]), keys[1:], value)}


def _said(value: Any) -> str:
    return "(default)" if value is None else str(value)


def _replace(text: str, keys: list[str], written: str) -> str:
    """Return `text` with the value at `keys` replaced, or added where it is not written yet."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    node = YAML(pure=True).compose(text)
    for depth, key in enumerate(keys):
        if not isinstance(node, MappingNode):
            raise ParamsError(f"--set {'.'.join(keys)}: '{'.'.join(keys[:depth])}' is a value, not a section")
        child = next((value for name, value in node.value if str(name.value) == key), None)
        if child is None:
            return _added(text, node, keys[depth:], written)
        node = child
    if isinstance(node, MappingNode):
        known = ", ".join(str(name.value) for name, _ in node.value)
        raise ParamsError(f"--set {'.'.join(keys)}: is a section; set one of its settings: {known}")
    if isinstance(node, SequenceNode) and not node.flow_style:
        raise ParamsError(f"--set {'.'.join(keys)}: is a list over several lines; edit {PARAMS}")
    return _spliced(text, node.start_mark.index, node.end_mark.index, written)


def _spliced(text: str, start: int, end: int, written: str) -> str:
    """Replace text[start:end], and keep a comment behind it in its column."""
    rest = text[end:]
    if gap := re.match(r" {2,}(?=#)", rest):
        width = max(2, len(gap[0]) - (len(written) - (end - start)))
        rest = " " * width + rest[gap.end() :]
    return text[:start] + written + rest


def _added(text: str, section: Any, keys: list[str], written: str) -> str:
    """Return `text` with a setting added to a section; what is between is made as a section in one line."""
    for key in reversed(keys[1:]):
        written = f"{{{key}: {written}}}"
    entry = f"{keys[0]}: {written}"
    if section.flow_style:
        end = section.end_mark.index - 1
        comma = ", " if section.value else ""
        return text[:end].rstrip() + comma + entry + text[end:]
    last = max(leaf.end_mark.index for leaf in _leaves(section))
    line_end = text.find("\n", last)
    line_end = len(text) if line_end < 0 else line_end
    return f"{text[:line_end]}\n{' ' * section.start_mark.column}{entry}{text[line_end:]}"


def _leaves(node: Any) -> Iterator[Any]:
    """Yield the values of a section whose end in the text is exact: all but sections over several lines."""
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, MappingNode) and not node.flow_style:
        for _, value in node.value:
            yield from _leaves(value)
    elif isinstance(node, SequenceNode) and not node.flow_style:
        for value in node.value:
            yield from _leaves(value)
    else:
        yield node
