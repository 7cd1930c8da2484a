"""Which model a project has in service: the registry's champion, else the export of the last run."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import ArtifactError
from trunkline.files import read_json

REGISTRY = Path("models/registry")
EXPORT = Path("models/export")
MODEL = "model.onnx"


def model_in_service(root: Path, name: str) -> Path:
    """Return the ONNX file that serves.

    Args:
        root: The project's folder.
        name: Of the model, as `export.name` has it.

    Raises:
        ArtifactError: The registry's aliases are not readable.
    """
    aliases = root / REGISTRY / name / "aliases.json"
    content = read_json(aliases) if aliases.exists() else {}
    if not isinstance(content, dict):
        raise ArtifactError(f"{aliases}: is damaged, so nothing says which version is in service")
    champion = content.get("champion")
    return root / EXPORT / MODEL if champion is None else aliases.parent / str(champion) / MODEL
