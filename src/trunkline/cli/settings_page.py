"""The page docs/settings.md: every setting of params.yaml with its type, default and meaning, from the declarations."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

HEAD = """\
# Settings

Every key that params.yaml may hold. Written by `trunkline schema --markdown > docs/settings.md`; the texts stand beside
the declarations in the code. A section with a `kind` has the settings of that kind only. A section or key that is not
required may be left out. `[]` stands for each entry of a list, `NAME` for a name that you give."""
COLUMNS = ("key", "type", "default", "meaning")
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
WORDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything"}


def settings_page() -> str:
    """Return the page as Markdown."""
    from trunkline.project import Project

    fields = Project.model_fields
    plain = [(name, field) for name, field in fields.items() if not _models_in(field.annotation)]
    blocks = [HEAD, _table(plain)]
    for name, field in fields.items():
        if _models_in(field.annotation):
            blocks += _section(f"{name}{_joint(field.annotation)}", field, 2)
    return "\n\n".join(blocks)


def _section(path: str, field: FieldInfo, level: int) -> Iterator[str]:
    """Yield the blocks of what stands under `path`: one table, or one per kind, then those of sections within."""
    yield f"{'#' * level} {path}"
    yield _escaped(field.description or "")
    models = _models_in(field.annotation)
    default = getattr(field.default, "kind", None)
    within: dict[str, FieldInfo] = {}
    for model in models:
        if kind := _kind(model):
            yield f"{'#' * (level + 1)} {path}.kind: {kind}{' (default)' if kind == default else ''}"
            yield _escaped(_doc(model))
        rows = list(_rows(model))
        yield _table(rows) if rows else "No further settings."
        within |= {key: row for key, row in rows if any(_kind(inner) for inner in _models_in(row.annotation))}
    for key, row in within.items():
        yield from _section(f"{path}.{key}{_joint(row.annotation)}", row, level + 1)


def _rows(model: type[BaseModel], front: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the settings of a declaration, those within a setting right after it; kinds have sections of their own."""
    for name, field in model.model_fields.items():
        if name == "kind" and _kind(model):
            continue
        yield f"{front}{name}", field
        for inner in _models_in(field.annotation):
            if not _kind(inner):
                yield from _rows(inner, f"{front}{name}{_joint(field.annotation)}.")


def _table(rows: list[tuple[str, FieldInfo]]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [(f"`{key}`", _type(field), _default(field), _escaped(field.description or "")) for key, field in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{value.kind}`" if hasattr(value, "kind") else "see below"
    return f"`{json.dumps(value)}`"


def _type(field: FieldInfo) -> str:
    return _of_type(field.annotation, field.metadata)


def _of_type(annotation: Any, limits: list[Any] | tuple[Any, ...] = ()) -> str:
    """Return a type and its limits in words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        of_field = [limit for part in inner[1:] for limit in getattr(part, "metadata", [part])]
        return _of_type(inner[0], of_field)
    if origin is typing.Literal:
        return " or ".join(f"`{word}`" for word in inner)
    if kinds := [kind for model in _models_at(annotation) if (kind := _kind(model))]:
        return "section; `kind`: " + ", ".join(f"`{kind}`" for kind in kinds)
    if origin in (typing.Union, types.UnionType):
        parts = dict.fromkeys("null" if part is type(None) else _of_type(part, limits) for part in inner)
        return " or ".join(parts)
    if origin is list:
        return f"list of {_of_type(inner[0])}"
    if origin is dict:
        return f"by name: {_of_type(inner[1])}"
    if origin is tuple:
        return " and ".join(_of_type(part) for part in inner)
    return "section" if _models_at(annotation) else f"{WORDS[annotation]}{_of_limits(limits)}"


def _of_limits(limits: list[Any] | tuple[Any, ...]) -> str:
    """Return " >= 0, < 1" for such limits."""
    found = [f"{SIGNS[name]} {getattr(limit, name)}" for limit in limits for name in SIGNS if hasattr(limit, name)]
    return f" {', '.join(found)}" if found else ""


def _joint(annotation: Any) -> str:
    """Return what stands between a setting's name and those within it: a list's or a dictionary's entries."""
    origin = typing.get_origin(annotation)
    return {list: "[]", dict: ".NAME"}.get(origin, "") if origin else ""


def _models_at(annotation: Any) -> list[type[BaseModel]]:
    """Return the declarations that may stand here, not in a list or dictionary."""
    if isinstance(annotation, type) and not typing.get_origin(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (list, dict):
        return []
    return [model for part in typing.get_args(annotation) for model in _models_at(part)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the declarations that may stand here or as an entry."""
    if typing.get_origin(annotation) in (list, dict):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return _models_at(annotation)


def _kind(model: type[BaseModel]) -> str | None:
    """Return the name of a kind; None for a declaration that is the only one of its place."""
    field = model.model_fields.get("kind")
    names = typing.get_args(field.annotation) if field else ()
    return str(names[0]) if len(names) == 1 else None


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _escaped(text: str) -> str:
    """Return the text so that no sign of it divides a table's cells or reads as a tag."""
    return re.sub(r"([|]|<(?=\w))", r"\\\1", text)
