"""When has a new drop landed whole? Looked at again and again, by whoever starts runs.

A file is taken for whole when nothing of the folder has changed for a while: neither a name, nor a size, nor a time.
So one that is being copied is waited for, and one that is renamed into place is found at once. What a run has
answered, well or by refusing it, is not asked again until the files change; that outlives a restart.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from trunkline.declared import Declared
from trunkline.errors import ArtifactError, DataError
from trunkline.files import read_json, write_json

INCOMING = Path("data/incoming")
STATE = Path(".trunkline/watch.json")
SETTLE = 30.0  # seconds without a change after which the files are taken for whole
AGAIN = 600.0  # seconds until files are tried again whose run ended for a reason that is not in them

Files = dict[str, tuple[int, int]]
"""Name of each drop: its bytes, and its time of change in nanoseconds."""


class Answered(Declared):
    """The drops of the last run that answered for them."""

    files: dict[str, list[int]]
    outcome: Literal["done", "refused"]


def drops_of(root: Path) -> Files:
    """Return what lies in data/incoming/ and is a drop by its name."""
    from trunkline.data.ingest import find_drops

    found: Files = {}
    try:
        for path in find_drops(root / INCOMING):
            status = path.stat()
            found[path.name] = (status.st_size, status.st_mtime_ns)
    except (DataError, FileNotFoundError):  # none yet, or one was renamed between two looks
        return {}
    return found


def newest_drop(root: Path) -> str:
    """Return the name, without its ending, of the drop that stands last in data/incoming/; "" where there is none."""
    return Path(max(drops_of(root), default="")).stem


class Watch:
    """Watches the incoming folder of one project.

    Args:
        root: The project's folder.
        settle: Seconds without a change after which the files are taken for whole.
        again: Seconds until files are tried again whose run ended for a reason that is not in them.
    """

    def __init__(self, root: Path, settle: float = SETTLE, again: float = AGAIN) -> None:
        self._root = root
        self._settle = settle
        self._again = again
        self._seen: Files = {}
        self._since = 0.0
        self._not_before = 0.0

    @property
    def waiting(self) -> bool:
        """Whether files lie there that the last look took for unfinished."""
        return self._is_new() and time.monotonic() >= self._not_before

    def look(self) -> list[str]:
        """Look once.

        Returns:
            Names of the drops that are new or changed, or of those that are gone, when all are whole and a run shall
            start; else none.
        """
        now, found = time.monotonic(), drops_of(self._root)
        if found != self._seen:
            self._seen, self._since = found, now
        if not self._is_new() or now - self._since < self._settle or now < self._not_before:
            return []
        before = self._answered()
        return sorted(name for name in {*found, *before} if found.get(name) != before.get(name))

    def answer(self, outcome: Literal["done", "refused", "unsettled"]) -> None:
        """Remember how the run ended that the last look asked for.

        Args:
            outcome: unsettled: busy, stopped, or the machine failed, so the same files are tried again later.
        """
        if outcome == "unsettled":
            self._not_before = time.monotonic() + self._again
            return
        kept = {name: list(facts) for name, facts in self._seen.items()}
        write_json(self._root / STATE, Answered(files=kept, outcome=outcome).model_dump())

    def _is_new(self) -> bool:
        return bool(self._seen) and self._seen != self._answered()

    def _answered(self) -> Files:
        try:
            kept = Answered.model_validate(read_json(self._root / STATE))
        except (ArtifactError, ValidationError):
            return {}
        return {name: (facts[0], facts[1]) for name, facts in kept.files.items()}
