"""Whole runs as tasks of a Prefect flow: one task per recipe, wherever its task runner puts it.

A run that fails takes no other one along. Workers need trunkline, Prefect and prefect-dask, git, and what the stages
need; this file reaches them with the task.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from trunkline.cli.recipes_table import as_json, lines, put_down
from trunkline.errors import EnvironmentFault
from trunkline.pipeline import clones
from trunkline.pipeline.clones import Ended, Job
from trunkline.pipeline.family import supervise


@task(name="recipe", task_run_name="{job.name}", persist_result=False)
def recipe(job: Job) -> State[Any]:
    """Do one run; it ends as Completed, or as Failed with what its stage said."""
    ended = clones.whole_run(job)
    said = f"{ended.ran} stages ran, {ended.cached} were cached"
    return Failed(message=ended.said, data=ended) if ended.code else Completed(message=said, data=ended)


@flow(name="recipes", persist_result=False, validate_parameters=False)
def recipes(root: str, jobs: list[Job], quiet: bool = False) -> State[Any]:
    """Do the runs beside each other, tell of each that has ended, and put down what it handed back."""
    ended = supervise(lambda stop: _all(Path(root), jobs, quiet, stop))
    failed = [each.name for each in ended if each.code]
    said = f"{len(ended) - len(failed)} of {len(ended)} ended well"
    return (
        Failed(message=f"{said}; not {', '.join(failed)}", data=ended)
        if failed
        else Completed(message=said, data=ended)
    )


def _all(root: Path, jobs: Sequence[Job], quiet: bool, stop: threading.Event) -> list[Ended]:
    threading.Thread(target=_pass_on, args=(stop,), name="pass on", daemon=True).start()
    futures = {recipe.submit(job): job for job in jobs}
    found: dict[str, Ended] = {}
    for future in as_completed([*futures]):
        ended = found[futures[future].name] = _ended(future, futures[future])
        put_down(root, ended)
        if not quiet:
            how = f"failed ({ended.code})" if ended.code else "ended"
            print(f"{ended.name:<24} {how:<11} {ended.seconds:7.1f} s", flush=True)
    return [found[job.name] for job in jobs]


def _pass_on(stop: threading.Event) -> None:
    """Let no run of this process start another step once the flow is told to end."""
    stop.wait()
    clones.stopping.set()  # by its module: the flow travels to Dask's workers, and an event cannot


def _ended(future: PrefectFuture[Any], job: Job) -> Ended:
    try:
        found = future.result(raise_on_failure=False)
    except Exception as fault:  # Dask's own, where the worker or the connection is gone
        found = fault
    if isinstance(found, Ended):
        return found
    return Ended(job.name, EnvironmentFault.code, f"no worker ended it ({type(found).__name__}: {found})", 0.0)


def try_recipes(root: Path, jobs: list[Job], at_once: int, dask: str | None, quiet: bool) -> int:
    """Do the runs and print them side by side.

    Returns:
        The exit code: that of the first recipe that failed, else 0.
    """
    chosen = recipes.with_options(task_runner=_runner(at_once, dask))
    state: State[Any] = chosen(str(root), jobs, quiet, return_state=True)
    ended: Any = state.result(raise_on_failure=False)
    if isinstance(ended, Exception):
        raise ended
    if quiet:
        print(json.dumps(as_json(ended)))
    else:
        print("", *lines(ended), sep="\n")
    return next((each.code for each in ended if each.code), 0)


def _runner(at_once: int, dask: str | None) -> TaskRunner[Any]:
    if dask is None:
        return ThreadPoolTaskRunner(max_workers=at_once)
    from prefect_dask import DaskTaskRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not have this file
    where: dict[str, Any] = {"address": dask}
    if dask == "local":  # one run at a time in each worker; a run's own processes take the threads of params.yaml
        where = {"cluster_kwargs": {"n_workers": at_once, "threads_per_worker": 1, "dashboard_address": None}}
    runner: TaskRunner[Any] = DaskTaskRunner(**where)
    return runner
