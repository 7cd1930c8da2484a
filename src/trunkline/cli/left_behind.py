"""What a run left behind, read from a folder or out of a git revision without checking it out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.cli.project_folder import find_project
from trunkline.errors import ArtifactError, EnvironmentFault, ParamsError

if TYPE_CHECKING:
    from trunkline.evaluation.compare import Run

EVALUATION = "reports/evaluation.json"
Read = Callable[[str], bytes | None]
"""Gives the content of a file by its path within the project, None where there is no such file."""


def read_run(word: str | None) -> Run:
    """Read what a run left behind.

    Args:
        word: A project's folder, or a git revision of this project. Default: the working tree of this project.

    Raises:
        ParamsError: It is neither.
        ArtifactError: No run was recorded there, or a file is damaged.
        EnvironmentFault: A revision is named and git is not installed.
    """
    if word is None:
        return _run("working tree", _from_folder(find_project()))
    folder = Path(word)
    if (folder / EVALUATION).is_file() or (folder / "params.yaml").is_file():
        return _run(word, _from_folder(folder))
    root = _repository(word)
    revision = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}")
    if revision.returncode:
        raise ParamsError(
            f"{word}: is no revision of this repository (`git log --oneline` lists them)"
            + (f", and the folder {word} holds no {EVALUATION}" if folder.is_dir() else " and no folder")
        )
    commit = revision.stdout.decode().strip()
    return _run(f"{word} ({commit[:7]})", _from_revision(root, commit))


def _repository(word: str) -> Path:
    """Return the project's folder, of which `word` may be a revision."""
    try:
        root = find_project()
        answer = _git(root, "rev-parse", "--git-dir")
    except ParamsError as fault:
        raise ParamsError(
            f"{word}: holds no {EVALUATION}, and a git revision has a meaning in a project only"
        ) from fault
    if answer.returncode:
        said = " ".join(answer.stderr.decode(errors="replace").split())
        raise ParamsError(f"{word}: holds no {EVALUATION} and is no git revision ({said or root})")
    return root


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as fault:
        raise EnvironmentFault("git: cannot be started; install it, or compare two folders") from fault


def _from_folder(folder: Path) -> Read:
    def read(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            return None

    return read


def _from_revision(root: Path, commit: str) -> Read:
    def read(path: str) -> bytes | None:
        answer = _git(root, "show", f"{commit}:./{path}")
        return None if answer.returncode else answer.stdout

    return read


def _run(name: str, read: Read) -> Run:
    from trunkline.evaluation.compare import Run

    return Run(name, _evaluation(name, read), _yaml(name, read, "params.yaml"), _yaml(name, read, "dvc.lock"))


def _evaluation(name: str, read: Read) -> dict[str, Any]:
    content = read(EVALUATION)
    if content is None:
        raise ArtifactError(f"{name}: holds no {EVALUATION}; a finished run writes it, and `git add` keeps it")
    try:
        evaluation = json.loads(content)
    except ValueError as fault:
        raise ArtifactError(
            f"{name}: {EVALUATION} is not readable JSON ({fault}); run `trunkline run` there"
        ) from fault
    if not isinstance(evaluation, dict) or "tasks" not in evaluation:
        raise ArtifactError(f"{name}: {EVALUATION} has no 'tasks'; run `trunkline run` there to make it again")
    return evaluation


def _yaml(name: str, read: Read, path: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(read(path) or b"")
    except (YAMLError, ValueError) as fault:
        raise ParamsError(f"{name}: {path} is not YAML ({' '.join(str(fault).split())[:200]}); correct it") from fault
    return content if isinstance(content, dict) else {}
