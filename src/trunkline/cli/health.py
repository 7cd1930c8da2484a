"""Looks at the machine and the project, one finding each, and names the repair."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from trunkline.errors import EnvironmentFault, TrunklineError

LOW_DISK = 5 * 2**30  # bytes; a run of the demo writes about a fifth of it
PREFECT_SERVER = "prefect.server.api.server:create_app"


class Finding(NamedTuple):
    """One thing looked at."""

    state: Literal["ok", "warn", "fault"]
    what: str
    found: str
    fix: str = ""
    code: int = 0
    """Exit code where it is a fault."""


def look_at_machine(root: Path) -> Iterator[Finding]:
    """Yield what was found about Python, packages, processor, disk, git, DVC, the lock and left-over servers."""
    yield Finding("ok", "python", f"{platform.python_version()} in {sys.prefix}")
    yield packages(root / "requirements.lock")
    yield processor()
    yield disk(root)
    yield git(root)
    yield outputs(root)
    yield lock(root)
    yield servers()


def packages(lock_file: Path) -> Finding:
    """Compare what is installed with the lock."""
    if not lock_file.is_file():
        return Finding("warn", "packages", "there is no requirements.lock", "git checkout requirements.lock")
    pins = [line.partition("==") for line in lock_file.read_text().split()]
    absent, other = [], []
    for name, _, pinned in pins:
        try:
            version = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if version != pinned:
            other.append(f"{name} {version} (lock {pinned})")
    if absent:
        found = f"{len(absent)} of {len(pins)} are not installed: {', '.join(absent[:5])}"
        return Finding("fault", "packages", found, "make setup", EnvironmentFault.code)
    if other:
        return Finding("warn", "packages", f"{len(other)} of {len(pins)} differ: {', '.join(other[:5])}", "make setup")
    return Finding("ok", "packages", f"{len(pins)} as in requirements.lock")


def processor() -> Finding:
    """Say what torch would compute on."""
    try:
        import torch
    except ImportError as fault:
        return Finding("fault", "torch", f"cannot be loaded ({fault})", "make setup", EnvironmentFault.code)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return Finding("ok", "torch", f"{torch.__version__}, {cores} CPU cores, {device}")


def disk(root: Path) -> Finding:
    """Look whether the disk has room for a run."""
    free = shutil.disk_usage(root).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < LOW_DISK:
        return Finding("warn", "disk", found, "free space; `dvc gc --workspace` removes what no version here uses")
    return Finding("ok", "disk", found)


def git(root: Path) -> Finding:
    """Say on which revision the project stands."""
    from trunkline.pipeline.record import revision

    found = revision(root)
    if found is None:
        return Finding("warn", "git", "no revision: nothing is versioned", "git init && git add . && git commit")
    differs = ", with changes that are not committed" if found.endswith("+") else ""
    return Finding("ok", "git", found.rstrip("+")[:12] + differs)


def outputs(root: Path) -> Finding:
    """Say whether DVC finds every output up to date."""
    from trunkline.pipeline.plan import plan

    try:
        planned = plan(root)
    except TrunklineError as fault:
        return Finding("fault", "pipeline", str(fault), "correct that", fault.code)
    stale = [each.name for each in planned if each.reasons]
    if stale:
        return Finding("ok", "pipeline", f"{len(stale)} of {len(planned)} stages would run; `trunkline plan` says why")
    return Finding("ok", "pipeline", f"all {len(planned)} stages are up to date")


def lock(root: Path) -> Finding:
    """Say who runs the project."""
    from trunkline.pipeline.lock import holder

    who = holder(root)
    return Finding("ok", "lock", f"held by process {who.pid} (`{who.command}`)" if who else "free")


def servers() -> Finding:
    """Look for temporary Prefect servers whose flow was killed."""
    left = [process.pid for process in psutil.process_iter() if _is_left_server(process)]
    if not left:
        return Finding("ok", "prefect", "no server was left behind")
    pids = " ".join(map(str, left))
    return Finding("warn", "prefect", f"servers left behind by killed flows: {pids}", f"kill {pids}")


def _is_left_server(process: psutil.Process) -> bool:
    try:
        if PREFECT_SERVER not in process.cmdline() or process.uids().real != os.getuid():
            return False
        parent = process.parent()
        return parent is None or "python" not in parent.name()
    except psutil.Error:
        return False
