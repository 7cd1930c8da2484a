"""Runs one stage, as `trunkline stage NAME` and so as dvc.yaml asks for it."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from trunkline.errors import ParamsError, TrunklineError
from trunkline.pipeline.environment import be_quiet, limit_threads
from trunkline.pipeline.failure import BUG, DEBUG, Failure, clear_failure, machine_fault, report_bug, write_failure
from trunkline.pipeline.family import end_with_parents, leave_on_sigterm
from trunkline.pipeline.lock import hold_or_inherit

PARAMS = "params.yaml"
TRAINS = ("train", "baseline")  # which several processes may do together


def run_stage(root: Path, name: str, task: str | None = None) -> int:
    """Run one stage of the project at `root`.

    A failure is said on stderr, or to the run that started this stage where there is one.

    Args:
        root: The project's folder.
        name: One of the nine stages.
        task: For `baseline`: the task to fit alone.

    Returns:
        The exit code: 0, or that of the error.
    """
    be_quiet()
    limit_threads(root / PARAMS)
    leave_on_sigterm()
    end_with_parents()
    handed_over = False
    try:
        with _held(root) as handed_over:
            _call(root, name, task)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        failure = _failure(root, error, name, task)
        left = _left(root, failure)
        if not (handed_over and left):
            print(failure.message, file=sys.stderr, flush=True)
        return failure.code
    return 0


@contextlib.contextmanager
def _held(root: Path) -> Iterator[bool]:
    """Hold the project's lock, unless the first of several processes does or who started it; give whether it does."""
    from trunkline.training.processes import started_together

    if not started_together().leads:
        yield False
        return
    with hold_or_inherit(root) as handed_over:
        clear_failure(root)
        yield handed_over


def _call(root: Path, name: str, task: str | None) -> None:
    # Imported here: this loads numpy, which reads the number of threads once.
    from trunkline.declared import did_you_mean
    from trunkline.project import load_project
    from trunkline.stages import STAGES
    from trunkline.training.processes import started_together

    if name not in STAGES:
        hint = did_you_mean(name, STAGES) or f"; the stages are {', '.join(STAGES)}"
        raise ParamsError(f"'{name}' is no stage{hint}")
    if name not in TRAINS and started_together().number > 1:
        raise ParamsError(f"stage {name}: is run by one process; start it without torchrun")
    project = load_project(root)
    if name != "baseline":
        if task is not None:
            raise ParamsError(f"stage {name}: runs for all tasks; leave --task out")
        STAGES[name](root, project)
        return
    if task not in project.tasks:
        found = "no --task is given" if task is None else f"'{task}' is no task{did_you_mean(task, project.tasks)}"
        raise ParamsError(f"stage baseline: {found}; choose one of {', '.join(project.tasks)}")
    STAGES[name](root, project, task)


def _failure(root: Path, error: Exception, name: str, task: str | None) -> Failure:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if isinstance(error, TrunklineError):
        return Failure(stage=name, task=task, code=error.code, message=str(error))
    if fault := machine_fault(error):
        return Failure(stage=name, task=task, code=fault.code, message=f"stage {name}: {fault}")
    return Failure(stage=name, task=task, code=BUG, message=f"stage {name}: {report_bug(root, error)}")


def _left(root: Path, failure: Failure) -> bool:
    """Leave the failure for the run that started this stage; False where the disk does not let us."""
    try:
        write_failure(root, failure)
    except TrunklineError:
        return False
    return True
