"""Which model a project has in service: the registry's champion, else the export of the last run."""

from __future__ import annotations

from pathlib import Path

from trunkline.serving.aliases import version_in_service

REGISTRY = Path("models/registry")
EXPORT = Path("models/export")
MODEL = "model.onnx"


def model_in_service(root: Path, name: str) -> Path:
    """Return the ONNX file that serves.

    Args:
        root: The project's folder.
        name: Of the model, as `export.name` has it.

    Raises:
        ArtifactError: The registry's aliases are damaged.
    """
    folder = root / REGISTRY / name
    champion = version_in_service(folder)
    return root / EXPORT / MODEL if champion is None else folder / str(champion) / MODEL
