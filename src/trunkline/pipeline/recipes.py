"""What whole runs shall be tried: a file of recipes, each a name, settings to change, and a revision to start from.

as-it-is: {}
wide:     {set: [trunk.width=512]}
december: {set: [training.epochs=20], revision: month-12}
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from trunkline.declared import Declared, explain
from trunkline.errors import EnvironmentFault, ParamsError
from trunkline.pipeline.incoming import INCOMING, drops_of
from trunkline.project import read_yaml

MOST_NAMED = 3  # drops in a message
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Recipe(Declared):
    """One whole run."""

    set: list[str] = Field([], description="Settings to change first, each as `trunkline run --set` takes it.")
    revision: str = Field("HEAD", description="Git's revision of the project from which it starts.")


class Source(NamedTuple):
    """Where clones come from."""

    repository: Path
    """The folder of git's repository that holds the project."""
    inside: str
    """The project's folder within it; "" where it is the same."""


def read_recipes(path: Path) -> dict[str, Recipe]:
    """Read a file of recipes.

    Raises:
        ParamsError: It is missing, no YAML, or says something else than recipes; a line per fault.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: not found; write it, a recipe each line: `wide: {{set: [trunk.width=512]}}`")
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ParamsError(
            f"{path}: holds no recipes; each is a name and what it sets: `wide: {{set: [trunk.width=512]}}`"
        )
    return {str(name): _recipe(path, str(name), found) for name, found in content.items()}


def _recipe(path: Path, name: str, content: object) -> Recipe:
    if not NAME.fullmatch(name):
        raise ParamsError(f"{path}: {name!r}: becomes a folder; use letters, digits, and . _ - within")
    try:
        return Recipe.model_validate({} if content is None else content)
    except ValidationError as fault:
        raise explain(fault, Recipe, f"{path}: {name}") from fault


def find_source(root: Path) -> Source:
    """Return where clones of the project come from, if they can hold what lies here.

    Raises:
        ParamsError: It is in no git repository, or holds what is not committed.
        EnvironmentFault: There is no git.
    """
    top, inside = git(root, "rev-parse", "--show-toplevel"), git(root, "rev-parse", "--show-prefix")
    if changed := git(root, "diff", "--name-only", "--relative", "HEAD", "--", "."):
        raise ParamsError(
            f"{', '.join(changed.splitlines())}: changed and not committed, but a clone holds what is committed; "
            f"git commit, or git checkout, first"
        )
    _refuse_unknown_drops(root)
    return Source(Path(top), inside)


def _refuse_unknown_drops(root: Path) -> None:
    """Refuse drops that a clone would lack; those of a source that fetches them itself are none."""
    from trunkline.project import load_project

    known = git(root, "ls-files", "--", str(INCOMING), f"{INCOMING}.dvc").splitlines()
    if f"{INCOMING}.dvc" in known or load_project(root).data.source.kind != "files":
        return
    if unknown := [name for name in drops_of(root) if f"{INCOMING}/{name}" not in known]:
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        first = f"`git rm -r --cached {INCOMING}`, " if known else ""  # what git holds there, DVC does not take
        raise ParamsError(
            f"{INCOMING}: neither git nor DVC knows {', '.join(unknown[:MOST_NAMED])}{more}, so a clone would lack "
            f"what lies there; {first}`dvc add {INCOMING}` and commit {INCOMING}.dvc"
        )


def commit_of(root: Path, name: str, revision: str) -> str:
    """Return the commit that a recipe starts from.

    Raises:
        ParamsError: There is no such revision.
    """
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except ParamsError as fault:
        raise ParamsError(f"{name}.revision: '{revision}' is no revision of this repository") from fault


def git(root: Path, *words: str) -> str:
    """Return what git answers.

    Raises:
        ParamsError: It refuses.
        EnvironmentFault: There is no git.
    """
    try:
        answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError as fault:
        raise EnvironmentFault("git: cannot be started; install it, then run again") from fault
    if answer.returncode:
        raise ParamsError(f"git: {' '.join(answer.stderr.split()) or ' '.join(words)}")
    return answer.stdout.strip()
