"""Frozen, strict pieces of params.yaml, and the sentences that say what is wrong with one.

A declaration refuses unknown settings and never converts silently. Reading one imports no torch.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trunkline.errors import ParamsError


class Declared(BaseModel):
    """A frozen, strict piece of params.yaml: no unknown settings, no silent conversions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=False
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, or "" where none is near.

    Example:
        >>> did_you_mean("loss_weigth", ["loss_weight", "target"])
        "; did you mean 'loss_weight'?"
        >>> did_you_mean("zzz", ["target"])
        ''
    """
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def explain(error: ValidationError, model: type[BaseModel], where: str = "params.yaml") -> ParamsError:
    """Turn pydantic's report into one line per fault: file, key, what was found, what to do.

    Args:
        error: What pydantic raised for `model`.
        model: The declaration that was being read; its fields feed "did you mean".
        where: The file named at the start of each line.

    Returns:
        An error whose text has one line per fault, in the order of the file.
    """
    return ParamsError("\n".join(f"{where}: {_sentence(fault, model)}" for fault in error.errors()))


def _sentence(fault: Any, model: type[BaseModel]) -> str:
    kind, context, found = fault["type"], fault.get("ctx", {}), fault.get("input")
    path, _ = _walk(model, fault["loc"])
    key = ".".join(path)
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    if not key:
        return f"holds {_shown(found)}; expected sections such as data, columns, tasks"
    if kind == "extra_forbidden":
        _, parent = _walk(model, fault["loc"][:-1])
        known = list(dict.fromkeys(name for branch in _models_in(parent) for name in branch.model_fields))
        hint = did_you_mean(path[-1], known) or f"; settings here: {', '.join(known)}"
        return f"{key}: is not a setting here{hint}"
    if kind == "missing":
        return f"{key}: is required and not given"
    if kind == "union_tag_not_found":
        _, parent = _walk(model, fault["loc"])
        return f"{key}.kind: is required; choose one of {', '.join(_tags(parent))}"
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        hint = did_you_mean(context["tag"], known)
        return f"{key}.kind: '{context['tag']}' is unknown; choose one of {', '.join(known)}{hint}"
    if kind == "literal_error":
        return f"{key}: {found!r} is unknown; choose one of {context['expected']}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: found {_shown(found)}; {message}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _walk(model: type[BaseModel], loc: tuple[Any, ...]) -> tuple[list[str], Any]:
    """Follow a pydantic location; return the keys a person wrote, without union tags, and what stands there."""
    path: list[str] = []
    current: Any = model
    for part in loc:
        tagged = {tag: branch for branch in _models_in(current) for tag in _tags(branch)}
        if not _is_model(current) and typing.get_origin(current) not in (dict, list) and part in tagged:
            current = tagged[part]  # a tag names a branch of a union and is no key of the file
            continue
        path.append(str(part))
        current = _inside(current, part)
    return path, current


def _inside(annotation: Any, part: Any) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    if typing.get_origin(annotation) in (dict, list):
        return typing.get_args(annotation)[-1]
    # An optional or annotated thing: look within the part of it that has an inside.
    for inner in typing.get_args(annotation):
        if (found := _inside(inner, part)) is not None:
            return found
    return None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if _is_model(annotation):
        return [annotation]
    if typing.get_origin(annotation) in (dict, list):
        return []
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _tags(annotation: Any) -> list[str]:
    """Names of the union branches in `annotation`, as `kind` spells them."""
    kinds = [model.model_fields["kind"] for model in _models_in(annotation) if "kind" in model.model_fields]
    return [str(tag) for field in kinds for tag in typing.get_args(field.annotation)]
