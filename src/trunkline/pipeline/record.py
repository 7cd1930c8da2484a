"""What a run was: when, where, on which revision, how long each stage took.

Kept in `.trunkline/runs/`, outside DVC and git, because no artifact may hold a clock or a host.
"""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path

from trunkline import __version__
from trunkline.files import write_json

RUNS = Path(".trunkline/runs")


def write_record(root: Path, began: float, stages: list[tuple[str, str, float]]) -> Path:
    """Write the record of a finished run.

    Args:
        root: The project's folder.
        began: Start of the run, seconds since 1970.
        stages: Name, state and seconds of each stage.

    Returns:
        The record's path; its name is the start in UTC.
    """
    start = time.gmtime(began)
    path = root / RUNS / f"{time.strftime('%Y%m%dT%H%M%S', start)}.{int(began % 1 * 1000):03d}Z.json"
    content = {
        "version": 1,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", start),
        "seconds": round(time.time() - began, 3),
        "host": platform.node(),
        "python": platform.python_version(),
        "trunkline": __version__,
        "revision": revision(root),
        "stages": [{"name": name, "state": state, "seconds": round(took, 3)} for name, state, took in stages],
    }
    write_json(path, content)
    return path


def revision(root: Path) -> str | None:
    """Return git's revision of the project, with `+` where files differ from it; None outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return answer.stdout.strip() or None
