"""`trunkline recipes`"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from trunkline.cli.flow_file import become, find_flow
from trunkline.cli.project_folder import find_project
from trunkline.errors import ParamsError

if TYPE_CHECKING:
    from trunkline.pipeline.clones import Job
    from trunkline.pipeline.recipes import Recipe

FLOW = Path("flows/recipes.py")
HERE = "local"
CLONES = Path(".trunkline/clones")


def recipes(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recipes by name: {wide: {set: \\[trunk.width=512]}}.")],
    at_once: Annotated[
        int, typer.Option(min=1, help="Runs at the same time; each takes `threads` of params.yaml.")
    ] = 2,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler such as tcp://host:8786; `local` starts one here."),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="URL", help="What workers elsewhere clone. Default: this folder's repository.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the clones of runs that ended well, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Do whole runs beside each other, each in a clone of its own, and hold their results side by side."""
    from trunkline.pipeline.recipes import read_recipes

    root = find_project()
    flow = find_flow(root, FLOW)
    _refuse_unreachable(dask)
    jobs = _jobs(root, read_recipes(file), dask not in (None, HERE), repository, keep)
    asked = {"root": str(root), "jobs": [asdict(job) for job in jobs], "at_once": at_once, "dask": dask}
    become(flow, json.dumps({**asked, "as_json": as_json}))


def _refuse_unreachable(dask: str | None) -> None:
    if dask is None:
        return
    from importlib.util import find_spec

    if find_spec("prefect_dask") is None:
        raise ParamsError("recipes: --dask needs prefect-dask; pip install 'trunkline[dask]' -c requirements.lock")
    near = dask == HERE or (urlsplit(dask).hostname or "") in ("127.0.0.1", "localhost", "::1")
    if not near and "PREFECT_API_URL" not in os.environ:
        raise ParamsError(
            "recipes: workers on other machines tell Prefect how they get on; name a server that they reach in "
            "PREFECT_API_URL, such as http://HOST:4200/api"
        )


def _jobs(root: Path, found: dict[str, Recipe], elsewhere: bool, repository: str | None, keep: bool) -> list[Job]:
    """Return what is to be done.

    Raises:
        ParamsError: A recipe sets what params.yaml does not know, or clones could not hold what lies here.
    """
    from trunkline.pipeline.clones import Job
    from trunkline.pipeline.dvc_repo import open_repo
    from trunkline.pipeline.recipes import commit_of, find_source

    source = find_source(root)
    with open_repo(root) as repo:
        remote, cache = bool(repo.config["core"].get("remote")), Path(repo.cache.local_cache_dir).resolve()
    if elsewhere and not remote:
        raise ParamsError("recipes: workers elsewhere reach the data by DVC's remote; dvc remote add -d NAME ADDRESS")
    jobs = []
    for name, recipe in found.items():
        commit = commit_of(root, name, recipe.revision)
        _try_settings(root, name, recipe, commit)
        jobs.append(
            Job(
                name=name,
                settings=tuple(recipe.set),
                repository=repository or str(source.repository),
                commit=commit,
                inside=source.inside,
                clone=None if elsewhere else str(root / CLONES / name),
                config=_config(root, None if elsewhere else cache),
                remote=remote,
                keep=keep,
            )
        )
    return jobs


def _try_settings(root: Path, name: str, recipe: Recipe, commit: str) -> None:
    """Refuse now what the run would refuse after it was cloned."""
    from trunkline.cli.settings import change_settings
    from trunkline.pipeline.recipes import git
    from trunkline.project import PARAMS

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / PARAMS).write_text(git(root, "show", f"{commit}:./{PARAMS}") + "\n", encoding="utf-8")
        try:
            change_settings(Path(folder), recipe.set)
        except ParamsError as fault:
            raise ParamsError(f"{name}: {fault}") from fault


def _config(root: Path, cache: Path | None) -> str:
    """Return DVC's settings for a clone: those of this folder alone, and its cache, where the clone shares it."""
    from configobj import ConfigObj

    if cache is None:
        return ""
    config = ConfigObj(str(root / ".dvc/config.local"), list_values=False)
    config.setdefault("cache", {})["dir"] = str(cache)
    config.filename = None
    return "\n".join(config.write())
