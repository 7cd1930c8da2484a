"""Runs that Prefect still takes for running although their process is gone: marked as crashed by the next one.

A process that is killed tells nobody. So each run leaves a note with its process under .trunkline/flows/, and takes
it away at its end; a note whose process is gone names a run that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from trunkline.files import write_json

NOTES = Path(".trunkline/flows")
KILLED = "its process was killed, or its machine went down; this was found out later"


@contextlib.contextmanager
def noted(root: Path, flow_run: UUID) -> Iterator[None]:
    """Leave a note of this process while the run goes on."""
    note = root / NOTES / f"{flow_run}.json"
    write_json(note, {"pid": os.getpid(), "started": psutil.Process().create_time()})
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def crash_killed_runs(root: Path) -> list[UUID]:
    """Mark the runs whose process is gone as crashed.

    Returns:
        The runs that were marked.
    """
    gone = [note for note in sorted((root / NOTES).glob("*.json")) if not _lives(note)]
    if not gone:
        return []
    with get_client(sync_client=True) as client:
        marked = [UUID(note.stem) for note in gone if crash(client, UUID(note.stem))]
    for note in gone:
        note.unlink(missing_ok=True)
    return marked


def _lives(note: Path) -> bool:
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        return bool(psutil.Process(said["pid"]).create_time() == said["started"])
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


def crash(client: SyncPrefectClient, flow_run: UUID) -> bool:
    """Mark a run and its tasks as crashed, unless they have ended; False where it has, or this server knows no such."""
    try:
        state = client.read_flow_run(flow_run).state
    except ObjectNotFound:
        return False
    if state is None or state.is_final():
        return False
    for task in client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run]}})):
        if task.state is not None and not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=KILLED), force=True)
    client.set_flow_run_state(flow_run, Crashed(message=KILLED), force=True)
    return True
