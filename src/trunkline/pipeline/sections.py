"""What dvc.yaml reads of params.yaml and does not find there, said before anything runs.

DVC demands that every key under `params` is written, even where trunkline has a default for it, and says so only when
the stage's turn comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.errors import ParamsError
from trunkline.project import PARAMS, Project, read_yaml

DVC_YAML = "dvc.yaml"


def refuse_missing_sections(root: Path) -> None:
    """Demand that params.yaml writes down every section that a stage lists.

    Raises:
        ParamsError: Names each section that lacks, with its default.
    """
    stages, written = read_yaml(root / DVC_YAML), read_yaml(root / PARAMS)
    if not isinstance(stages, dict) or not isinstance(written, dict):
        return  # others say what is wrong with that
    lacking = dict.fromkeys(key for key in _listed(stages) if not _holds(written, key.split(".")))
    whole = [key for key in lacking if key.partition(".")[0] not in lacking or "." not in key]
    known = {key: default for key in whole if (default := _default(key)) is not None}
    if known:
        lines = "".join(f"\n  {_as_yaml(key, default)}" for key, default in known.items())
        raise ParamsError(
            f"{PARAMS}: the stages of {DVC_YAML} read what is not written there; with its default:{lines}"
        )


def _listed(stages: dict[str, Any]) -> Iterator[str]:
    for stage in (stages.get("stages") or {}).values():
        declared = stage.get("do", stage) if isinstance(stage, dict) else {}
        yield from (key for key in declared.get("params") or [] if isinstance(key, str) and "$" not in key)


def _holds(written: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(written, dict) or part not in written:
            return False
        written = written[part]
    return True


def _default(key: str) -> Any:
    """Return the default of a section or of one of its settings; None where it must be given or is none of ours."""
    model: Any = Project
    *above, last = key.split(".")
    for part in above:
        field = model.model_fields.get(part)
        if field is None or not hasattr(field.annotation, "model_fields"):
            return None
        model = field.annotation
    field = model.model_fields.get(last)
    if field is None or field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if hasattr(default, "model_dump") else default


def _as_yaml(key: str, default: Any) -> str:
    *above, last = key.split(".")
    text = f"{last}: {json.dumps(default)}"
    for part in reversed(above):
        text = f"{part}: {{{text}}}"
    return text
