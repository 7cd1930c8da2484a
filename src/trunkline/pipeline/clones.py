"""One whole run in a clone of its own: fetched, changed, run, pushed, its results handed back. No fault is raised.

DVC's workspace and locks belong to one folder of one machine, so what runs at the same time runs in clones. On the
project's own machine they share its cache; elsewhere what they need comes from, and goes to, DVC's remote.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from trunkline.errors import ArtifactError, EnvironmentFault, TrunklineError
from trunkline.files import read_json
from trunkline.pipeline.failure import BUG, StageFailure, machine_fault
from trunkline.pipeline.lock import OWNER

ELSEWHERE = Path(".cache/trunkline/clones")  # in the home of whoever runs the worker
HANDED_BACK = (
    "params.yaml", "dvc.lock", "reports/evaluation.json", "reports/validation.json", "reports/report.html",
)  # fmt: skip
STOPPED = 143
# `trunkline`, ended when the thread that started it is gone.
TRUNKLINE = """\
from trunkline.__main__ import main
from trunkline.pipeline.family import end_with_parent
end_with_parent()
main()
"""

stopping = threading.Event()
"""Set where no further step shall be started in this process."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of a run.

    Attributes:
        name: The recipe's name.
        settings: Changes of params.yaml, as `--set` takes them.
        repository: What git clones from.
        commit: What is checked out.
        inside: The project's folder within the repository.
        clone: Where the clone lies. None: in the home of whoever runs the worker.
        config: DVC's settings of this clone alone (.dvc/config.local).
        remote: Whether DVC has a remote to pull from and push to.
        keep: Whether the clone of a run that ended well stays.
    """

    name: str
    settings: tuple[str, ...]
    repository: str
    commit: str
    inside: str
    clone: str | None
    config: str
    remote: bool
    keep: bool


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        name: The recipe's name.
        code: Exit code, as `trunkline run` answers.
        said: What went wrong; "" where nothing did.
        seconds: All of it.
        ran: How many stages ran.
        cached: How many did not need to.
        composite: Mean over the seeds of the shared model's composite on validation rows; None where it is unknown.
        files: What was handed back, by path within the project.
        clone: The clone, where it was left.
    """

    name: str
    code: int
    said: str
    seconds: float
    ran: int = 0
    cached: int = 0
    composite: float | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    clone: str | None = None


def whole_run(job: Job) -> Ended:
    """Do a run in its clone. A clone that an interrupted run left is used again, and its training goes on."""
    began, clone = time.monotonic(), _place(job)
    stages: list[dict[str, Any]] = []
    code, said = 0, ""
    try:
        root = _prepare(job, clone)
        _run(job, root, stages)
        if job.remote:
            _step(root, "dvc push", [sys.executable, "-m", "dvc", "push", "-q"])
    except Exception as fault:
        code, said = _reason(fault)
    files = _handed_back(clone / job.inside) if not code else {}
    composite = _composite(clone / job.inside) if not code else None
    if not code and not job.keep:
        shutil.rmtree(clone, ignore_errors=True)
    states = [each["state"] for each in stages]
    left = str(clone) if clone.exists() else None
    seconds = time.monotonic() - began
    return Ended(
        job.name, code, said, seconds, states.count("ran"), states.count("cached"), composite, files, left
    )  # fmt: skip


def _place(job: Job) -> Path:
    if job.clone:
        return Path(job.clone)
    of_project = hashlib.sha256(f"{job.repository}\n{job.inside}".encode()).hexdigest()[:12]
    return Path.home() / ELSEWHERE / of_project / job.name


def _prepare(job: Job, clone: Path) -> Path:
    """Make the clone as it was committed, with the data that exists; return the project's folder in it."""
    if not _is_at(clone, job.commit):
        shutil.rmtree(clone, ignore_errors=True)
        clone.parent.mkdir(parents=True, exist_ok=True)
        words = ["git", "clone", "--quiet", "--no-checkout", "--", job.repository, str(clone)]
        _step(clone.parent, "git clone", words)
    _step(clone, "git checkout", ["git", "checkout", "--quiet", "--force", "--detach", job.commit])
    root = clone / job.inside
    (root / ".dvc/config.local").write_text(job.config, encoding="utf-8")
    fetch = "pull" if job.remote else "checkout"
    _step(root, f"dvc {fetch}", [sys.executable, "-m", "dvc", fetch, "-q", "--force", "--allow-missing"])
    return root


def _is_at(clone: Path, commit: str) -> bool:
    if not (clone / ".git").is_dir():
        return False
    answer = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == commit


def _run(job: Job, root: Path, stages: list[dict[str, Any]]) -> None:
    """Run the pipeline in the clone.

    Raises:
        TrunklineError: What its stage said.
    """
    changes = [word for each in job.settings for word in ("--set", each)]
    done = _call(root, [sys.executable, "-c", TRUNKLINE, "run", "--json", *changes])
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    stages += answer.get("stages", [])
    if done.returncode:
        error = answer.get("error") or {}
        raise StageFailure(error.get("message") or _last_lines(done.stderr) or "it was ended", done.returncode)


def _step(folder: Path, what: str, words: list[str]) -> None:
    done = _call(folder, words)
    if done.returncode:
        raise EnvironmentFault(f"{what}: {_last_lines(done.stderr) or f'ended with {done.returncode}'}")


def _call(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    if stopping.is_set():
        raise StageFailure("stopped", STOPPED)
    done = subprocess.run(
        words,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if stopping.is_set():
        raise StageFailure("stopped", STOPPED)
    return done


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a step: trunkline's code is the clone's where it brings one."""
    kept = {name: value for name, value in os.environ.items() if name != OWNER and not name.startswith("GIT_")}
    source = folder / "src"
    if (source / "trunkline").is_dir():
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), kept.get("PYTHONPATH")]))
    return kept


def _last_lines(text: str) -> str:
    return "\n  ".join(line for line in text.splitlines()[-5:] if line.strip())


def _reason(fault: Exception) -> tuple[int, str]:
    known = fault if isinstance(fault, TrunklineError) else machine_fault(fault)
    return (known.code, str(known)) if known else (BUG, f"a bug in trunkline ({type(fault).__name__}: {fault})")


def _handed_back(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in HANDED_BACK if (root / name).is_file()}


def _composite(root: Path) -> float | None:
    try:
        return fmean(seed["composite"] for seed in read_json(root / "models/shared/run.json")["seeds"])
    except (ArtifactError, KeyError, TypeError):
        return None
