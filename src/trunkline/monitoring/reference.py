"""reference.json: what a model's training rows, its predictions for them and their labels were, beside the model.

With it drift can be measured where the training rows are not. It holds counts by bin and by word and no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError
from trunkline.files import read_json, sha256
from trunkline.monitoring.profiles import Profile, from_json, to_json

FORMAT = 1
REFERENCE = "reference.json"
OF = {"columns": "column", "predictions": "prediction", "labels": "label"}


@dataclass(frozen=True)
class Reference:
    """What the training rows were.

    Attributes:
        rows: Training rows.
        profiles: By what they are of ("column", "prediction" or "label") and the column's or task's name.
        tasks: By task its "kind", its "target" and its "classes" (empty where it has none).
    """

    rows: int
    profiles: dict[tuple[str, str], Profile]
    tasks: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the content of reference.json."""
        parts = {
            part: {name: to_json(profile) for (of, name), profile in self.profiles.items() if of == word}
            for part, word in OF.items()
        }
        return {"format": FORMAT, "rows": self.rows, "tasks": self.tasks, **parts}


def parse_reference(content: Mapping[str, Any], where: str) -> Reference:
    """Return the reference that `Reference.to_json` wrote.

    Raises:
        ArtifactError: It is of another format.
    """
    if content.get("format") != FORMAT:
        raise ArtifactError(
            f"{where}: has format {content.get('format')!r}; this trunkline reads {FORMAT}. Export the model again"
        )
    profiles = {
        (word, name): from_json(profile) for part, word in OF.items() for name, profile in content[part].items()
    }
    return Reference(content["rows"], profiles, content["tasks"])


def read_reference(model: Path, card: Mapping[str, Any]) -> Reference:
    """Read the reference.json beside a model, as the model's card names it.

    Args:
        model: The ONNX file.
        card: Content of its card.json.

    Raises:
        ArtifactError: The card names none, it is missing, or not the one that was exported.
    """
    named, path = card.get("reference"), model.with_name(REFERENCE)
    if named is None:
        raise ArtifactError(f"{model}: its card names no {REFERENCE}; export the model again with this trunkline")
    content = read_json(path)
    if sha256(path) != named["sha256"]:
        raise ArtifactError(f"{path}: is not the file that card.json names; copy the whole folder of the export anew")
    return parse_reference(content, str(path))
