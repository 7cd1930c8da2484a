"""The folder of published models: versions, what became of each, and the names that point to them.

    champion     the version in service
    candidate    the newest version that is not
    previous     the version that `rollback` puts back

aliases.json alone says which version is in service; entry.json of a version keeps the decisions taken on it. A decision
is written before the alias moves, so that no version is in service without the reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from trunkline.errors import ArtifactError, ParamsError
from trunkline.files import check_seal, read_json, write_json
from trunkline.serving.aliases import ALIASES, read_aliases

REGISTRY = Path("models/registry")
ENTRY = "entry.json"
CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"
FORMAT = 1


class Registry:
    """The versions of one model.

    Args:
        root: The project's folder.
        name: The model's name, `export.name` of params.yaml.

    Attributes:
        folder: Where they lie.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.name, self.folder = name, root / REGISTRY / name

    def versions(self) -> list[int]:
        """Return the numbers of the versions, the oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())

    def path(self, version: int) -> Path:
        """Return the folder of a version."""
        return self.folder / str(version)

    def known(self, version: int) -> int:
        """Return `version`.

        Raises:
            ParamsError: There is none of that number.
        """
        versions = self.versions()
        if version not in versions:
            held = f"there are {', '.join(map(str, versions))}" if versions else "none was published yet"
            raise ParamsError(f"'{self.name}' has no version {version}; {held}")
        return version

    def aliases(self) -> dict[str, int]:
        """Return the version of each alias that is set.

        Raises:
            ArtifactError: aliases.json is damaged.
        """
        return read_aliases(self.folder)

    def set_aliases(self, aliases: dict[str, int | None]) -> None:
        """Change aliases in one step; None takes one away.

        Raises:
            ArtifactError: A version that one would point to is missing or altered; nothing was changed.
        """
        merged = {**self.aliases(), **aliases}
        for version in filter(None, aliases.values()):
            self.check(version)
        write_json(self.folder / ALIASES, {name: version for name, version in sorted(merged.items()) if version})

    def entry(self, version: int) -> dict[str, Any]:
        """Return what is recorded of a version.

        Raises:
            ArtifactError: entry.json is missing, damaged or of another format.
        """
        path = self.path(version) / ENTRY
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != version:
            raise ArtifactError(f"{path}: is no entry of version {version} in format {FORMAT}; publish the model again")
        return content

    def record(self, version: int, stage: str, decision: dict[str, Any]) -> None:
        """Add a decision to a version's entry, unless it is the last one again.

        Args:
            version: The version decided upon.
            stage: What it is from now on: champion, kept out, rolled back.
            decision: {"when", "alias", "why", "gates", ...}
        """
        entry = self.entry(version)
        taken = entry["promoted"]
        if not taken or {**taken[-1], "when": ""} != {**decision, "when": ""}:
            entry |= {"stage": stage, "promoted": [*taken, decision]}
            write_json(self.path(version) / ENTRY, entry)

    def check(self, version: int) -> dict[str, Any]:
        """Check every file of a version against its seal.

        Returns:
            Its card.

        Raises:
            ArtifactError: A file is missing or was altered since it was published.
        """
        folder = self.path(version)
        if not folder.is_dir():
            raise ArtifactError(f"{folder}: is missing; version {version} of '{self.name}' cannot be served")
        try:
            files = check_seal(folder)["files"]
            card = dict(read_json(folder / "card.json"))
        except ArtifactError as fault:
            said = str(fault).splitlines()[0].partition("; ")[0].rstrip(".")
            raise ArtifactError(
                f"{said}.\n  Version {version} of '{self.name}' must not be served: `trunkline rollback`, "
                f"or `trunkline promote` another version"
            ) from fault
        if card.get("sha256") != files.get("model.onnx", {}).get("sha256"):
            raise ArtifactError(f"{folder / 'card.json'}: describes another model.onnx; publish the model again")
        return card

    def remove(self, version: int) -> None:
        """Remove a version; it is gone from `versions` in one step."""
        gone = self.folder / f".{version}.removed"
        self.path(version).rename(gone)
        shutil.rmtree(gone)

    def sweep(self) -> None:
        """Remove what a publication or a removal that was killed left behind."""
        for path in self.folder.glob(".*") if self.folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
