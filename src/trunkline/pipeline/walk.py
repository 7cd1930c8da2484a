"""The pipeline, run by DVC's own loop with someone looking on.

`dvc repro`, `trunkline run` and the Prefect flow run the same commands in the same order through the same code of
DVC, so they leave the same dvc.lock and the same files. DVC lets a caller put its own function around each stage
(its experiments do the same); ours asks `on_stage` to do the work, and the work passes on what the stage prints.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trunkline.errors import TrunklineError
from trunkline.pipeline.capture import Show, captured
from trunkline.pipeline.dvc_repo import in_our_words, known_targets, open_repo, require_project, stage_failure
from trunkline.pipeline.environment import path_with_this_python
from trunkline.pipeline.failure import clear_failure, read_failure
from trunkline.pipeline.family import supervise
from trunkline.pipeline.lock import OWNER, hold
from trunkline.pipeline.record import write_record


@dataclass(frozen=True)
class Outcome:
    """What became of one stage."""

    name: str
    """As DVC addresses it: `train`, `baseline@arr15`."""
    state: Literal["ran", "cached", "failed"]
    """cached: nothing it depends on has changed, or its output for exactly these inputs was still in DVC's cache."""
    seconds: float
    error: TrunklineError | None = None


Work = Callable[[Show], Outcome]
"""Runs the stage, passes on its lines and tells what became of it. It does not raise when the stage fails."""

OnStage = Callable[[str, Work], object]
"""Called for each stage with its name and its work, which it must do exactly once."""


def run_pipeline(root: Path, on_stage: OnStage, only: str | None = None) -> list[Outcome]:
    """Bring every output up to date.

    Args:
        root: The project's folder.
        on_stage: Called for each stage in turn.
        only: Run this stage alone, on whatever the stages before it left. Default: all that is stale.

    Returns:
        What became of each stage, in the order in which DVC came to them.

    Raises:
        TrunklineError: The stage's own error, so that the exit code is that of the stage; or nothing could start.
    """
    from trunkline.pipeline.sections import refuse_missing_sections
    from trunkline.project import load_project

    root = root.resolve()
    require_project(root)
    load_project(root)
    refuse_missing_sections(root)
    began = time.time()
    with hold(root):
        clear_failure(root)
        outcomes: list[Outcome] = []
        supervise(lambda stop: _Walk(root, on_stage, stop, outcomes).go(only))
        write_record(root, began, [(each.name, each.state, each.seconds) for each in outcomes])
    return outcomes


class _Walk:
    """One pass of DVC over the stages. A second pass needs another `Repo`: DVC's stages remember the first."""

    def __init__(self, root: Path, on_stage: OnStage, stop: threading.Event, outcomes: list[Outcome]) -> None:
        self.root = root
        self.on_stage = on_stage
        self.stop = stop
        self.outcomes = outcomes
        self.restored: set[str] = set()

    def go(self, only: str | None) -> None:
        environment = {OWNER: str(os.getpid()), "PATH": path_with_this_python()}
        with open_repo(self.root) as repo:
            targets = known_targets(repo, only) if only else None
            self._notice_restored(repo.stage_cache)
            repo.reproduce(targets, single_item=bool(only), repro_fn=self._reproduce, run_env=environment)

    def _notice_restored(self, cache: Any) -> None:
        """Remember which stages DVC restored from its cache of earlier runs; it tells nobody."""
        restore = cache.restore

        def noticed(stage: Any, *args: Any, **kwargs: Any) -> None:
            restore(stage, *args, **kwargs)  # raises where there is nothing to restore
            self.restored.add(stage.addressing)

        cache.restore = noticed

    def _reproduce(self, stage: Any, **kwargs: Any) -> Any:
        from dvc.repo.reproduce import _reproduce_stage

        if self.stop.is_set():
            raise InterruptedError
        if not getattr(stage, "name", None):  # a .dvc file: data, no stage
            return _reproduce_stage(stage, **kwargs)
        done: list[tuple[Outcome, Any]] = []

        def work(show: Show) -> Outcome:
            done.append(self._work(stage, show, lambda: _reproduce_stage(stage, **kwargs)))
            return done[0][0]

        self.on_stage(stage.addressing, work)
        ((outcome, result),) = done
        self.outcomes.append(outcome)
        if outcome.error:
            raise outcome.error
        return result

    def _work(self, stage: Any, show: Show, reproduce: Callable[[], Any]) -> tuple[Outcome, Any]:
        name, began = stage.addressing, time.monotonic()
        last_lines: deque[str] = deque()
        try:
            with captured(show) as last_lines:
                result = reproduce()
        except Exception as error:
            reason = self._reason(name, error, [*last_lines])
            return Outcome(name, "failed", time.monotonic() - began, reason), None
        ran = result is not None and name not in self.restored
        return Outcome(name, "ran" if ran else "cached", time.monotonic() - began), result

    def _reason(self, name: str, error: Exception, last_lines: list[str]) -> TrunklineError:
        failure = read_failure(self.root)
        if failure is not None:
            return failure.as_error()
        return stage_failure(name, error, last_lines) or in_our_words(self.root, error)
