"""Which project a command means."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import ParamsError


def find_project() -> Path:
    """Return the folder of the project that holds the current folder: the nearest with dvc.yaml and params.yaml.

    Raises:
        ParamsError: There is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise ParamsError(f"{here}: neither this folder nor one above it has params.yaml and dvc.yaml; go to the project")
