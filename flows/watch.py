"""Looks whether a new drop has landed in data/incoming/, and runs the pipeline if so; a flow for a Prefect server.

Deployed with a schedule of some minutes (prefect.yaml). On one machine without a server, `trunkline schedule --watch`
does the same and looks every second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # the files beside this one, however it was loaded

from pipeline import HERE, pipeline  # noqa: I001 - it sets what Prefect reads when it is imported
from flow_notice import answer_of
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from trunkline.pipeline.incoming import SETTLE, Watch


@flow(name="trunkline-watch", persist_result=False)
def watch(root: str = ".", settle_seconds: float = SETTLE, promote: bool = False) -> State[Any]:
    """Run the pipeline if data/incoming/ holds something new.

    Args:
        root: The project's folder; a relative one counts from the repository that this file lies in.
        settle_seconds: How long the files must stay as they are.
        promote: Afterwards publish the model, compare it with the one in service and promote it if it is better.
    """
    incoming = Watch(HERE / root, settle_seconds)
    while not (names := incoming.look()):
        if not incoming.waiting:
            return Completed(name="NothingNew", message="no drop has changed since the last run")
        time.sleep(min(1.0, settle_seconds))
    ended: State[Any] = pipeline(root, promote=promote, return_state=True)
    incoming.answer(answer_of(ended))
    return State(type=ended.type, name=ended.name, message=f"{', '.join(names)}: {ended.message}")
