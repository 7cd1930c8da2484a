"""What the processes of a run find in their environment: quiet tools, a fixed number of threads, this Python first."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def be_quiet() -> None:
    """Switch off the telemetry of every tool in use, unless the user has decided otherwise."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def limit_threads(params: Path) -> None:
    """Give numpy and torch the `threads` of params.yaml.

    Both read the variables once, when they are loaded, and reading params.yaml as a whole loads numpy; so this
    looks for the one line only.
    """
    try:
        found = re.search(r"^threads:[ \t]*(\d+)", params.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return  # said properly when the file is read as a whole
    for name in THREAD_COUNTS:
        os.environ[name] = found[1] if found else "1"


def path_with_this_python() -> str:
    """Return PATH with the folder of the running interpreter first, so that `python` means this one."""
    folder = str(Path(sys.executable).parent)
    return os.pathsep.join([folder, *filter(None, [os.environ.get("PATH")])])
