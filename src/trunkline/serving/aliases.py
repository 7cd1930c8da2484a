"""Names that point to versions of a model: aliases.json beside the folders 1, 2, ... that hold them."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import ArtifactError
from trunkline.files import read_json

ALIASES = "aliases.json"


def read_aliases(folder: Path) -> dict[str, int]:
    """Return the version of each alias that is set; none where no file is.

    Args:
        folder: Holds the versions.

    Raises:
        ArtifactError: aliases.json is damaged.
    """
    path = folder / ALIASES
    if not path.exists():
        return {}
    try:
        content = read_json(path)
        assert isinstance(content, dict)
        assert all(type(version) is int for version in content.values())
    except (ArtifactError, AssertionError) as fault:
        raise ArtifactError(
            f"{path}: is damaged, so nothing says which version is in service; entry.json of each version says "
            f'what was decided: write {{"champion": VERSION}} into it'
        ) from fault
    return content


def version_in_service(folder: Path) -> int | None:
    """Return the champion; None where there is none. Arguments and faults as those of `read_aliases`."""
    return read_aliases(folder).get("champion")
