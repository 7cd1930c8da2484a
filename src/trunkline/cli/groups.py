"""`trunkline groups`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ArtifactError, ParamsError

if TYPE_CHECKING:
    from trunkline.project import Project

ANALYSIS = Path("reports/analysis.json")
WORK = Path(".trunkline/groups")
RECIPE = {"seed", "threads", "trunk", "sharing", "balance", "training", "sampling", "calibration", "alone"}
"""Sections of params.yaml that decide, beside the tasks, what a training ends with."""
HEADER = ("task", "metric", "alone", "together", "grouped", "gain on together", "gain on alone")


def groups(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Train the suggested groups and compare them on validation rows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Say which tasks might better share a model, by how their gradients agreed in the last run."""
    from trunkline.files import to_json
    from trunkline.project import load_project

    root = find_project()
    project = load_project(root)
    found = _suggested(root, project)
    if confirm:
        found["confirmed"] = _confirm(root, project, [each["groups"] for each in found["groupings"]])
    if as_json:
        print(json.dumps(json.loads(to_json(found))))
    else:
        print(*_lines(found), sep="\n")
    return 0


def _suggested(root: Path, project: Project) -> dict[str, Any]:
    """Return what the last run found about affinity.

    Raises:
        ParamsError: Nothing was measured, or other tasks are declared now.
    """
    from trunkline.files import read_json

    if helpers := [name for name, task in project.tasks.items() if task.role != "main"]:
        raise ParamsError(
            f"params.yaml: tasks.{helpers[0]}.role: auxiliary: groups are compared by models alone, which auxiliary "
            f"tasks have none of; make it a main task, or take it out"
        )
    if len(project.tasks) == 1:
        raise ParamsError("params.yaml: tasks: there is one task only, so there is nothing to group")
    affinity = read_json(root / ANALYSIS).get("affinity")
    if not affinity:
        raise ParamsError(
            f"params.yaml: monitor.every: {project.monitor.every}; the last run measured no affinity, because it is 0 "
            f"or more than the steps of the training. Lower it (1 at least), then `trunkline run`"
        )
    if affinity["tasks"] != list(project.tasks):
        raise ParamsError(
            f"params.yaml: tasks are {', '.join(project.tasks)}, but the last run measured "
            f"{', '.join(affinity['tasks'])}; `trunkline run` first"
        )
    return {"groupings": affinity["groupings"], "conflicts": affinity["conflicts"], "says": affinity["says"]}


def _lines(found: dict[str, Any]) -> list[str]:
    from trunkline.evaluation.affinity import grouping_words

    lines = ["score  groups"] + [
        f"{each['score']:+.2f}  {grouping_words(each['groups'])}" for each in found["groupings"]
    ]
    if "confirmed" not in found:
        return [*lines, "", *found["says"]]
    for grouping in found["confirmed"]["groupings"]:
        lines += ["", grouping_words(grouping["groups"]), *_table(grouping)]
    return [*lines, "", found["confirmed"]["recommendation"]]


def _table(grouping: dict[str, Any]) -> list[str]:
    rows = [HEADER, *(_row(name, task) for name, task in grouping["tasks"].items())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(name: str, task: dict[str, Any]) -> tuple[str, ...]:
    from trunkline.evaluation.wording import score

    scores = (score(task[side]) for side in ("alone", "together", "grouped"))
    return name, task["metric"], *scores, _gain(task["on_together"]), _gain(task["on_alone"])


def _gain(found: dict[str, Any]) -> str:
    from trunkline.evaluation.wording import signed

    if not found["interval"]:
        return signed(found["mean"])
    low, high = found["interval"]
    return f"{signed(found['mean'])} ({signed(low)} to {signed(high)}, t {signed(found['t'])})"


def _confirm(root: Path, project: Project, groupings: list[list[list[str]]]) -> dict[str, Any]:
    """Train what is not yet trained, and compare.

    Raises:
        ArtifactError: The models are not those of the present params.yaml and data.
        BusyError: Another run holds the project.
    """
    from trunkline import stages
    from trunkline.data.encode import Encoded
    from trunkline.pipeline.lock import hold
    from trunkline.training.groups import compare_groupings, recommend

    with hold(root):
        _refuse_stale(root)
        wanted = [[tuple(group) for group in grouping] for grouping in groupings]
        together = tuple(project.tasks)
        folders: dict[tuple[str, ...], Path] = {(name,): root / stages.ALONE / name for name in together}
        folders[together] = root / stages.SHARED
        for group in dict.fromkeys(group for grouping in wanted for group in grouping):
            if group not in folders:
                folders[group] = _train(root, project, group)
        encoded = Encoded(root / stages.ENCODED, list(together))
        found = compare_groupings(project.tasks, encoded, folders, wanted, project.seed)
    return {**found, "recommendation": recommend(found)}


def _refuse_stale(root: Path) -> None:
    from trunkline.pipeline.plan import plan

    stale = [each.name for each in plan(root) if each.reasons and each.name.partition("@")[0] in ("train", "baseline")]
    if stale:
        raise ArtifactError(
            f"models/: are not what params.yaml and the data now give ({', '.join(stale)} would run again); "
            f"`trunkline run`, then `trunkline groups --confirm`"
        )


def _train(root: Path, project: Project, group: tuple[str, ...]) -> Path:
    """Train one group as the shared model was, unless that was done before; return its folder."""
    from dataclasses import replace

    from trunkline import stages
    from trunkline.data.encode import Encoded
    from trunkline.training.arm import penalised, shared_arm, train_arm
    from trunkline.training.groups import is_trained
    from trunkline.training.rebalanced import read_plans

    folder, words = root / WORK / _identity(root, project, group), " + ".join(group)
    if is_trained(folder):
        _progress(f"{words}: trained before")
        return folder
    _progress(f"{words}: trains")
    encoded = Encoded(root / stages.ENCODED, list(group), penalised(project.training, group))
    tasks = {name: project.tasks[name] for name in group}
    plans = read_plans(root / stages.REBALANCE, group)
    arm = shared_arm(
        tasks, encoded, project.trunk, project.balance, project.training, project.sharing, plans, project.sampling
    )  # fmt: skip
    train_arm(
        replace(arm, name="group"), encoded, project.calibration, project.alone.tune, None, project.seed,
        project.threads, folder, root / stages.CHECKPOINTS, _progress,
    )  # fmt: skip
    return folder


def _identity(root: Path, project: Project, group: tuple[str, ...]) -> str:
    """Return the name of a group's training: a hash of everything that decides its result."""
    from trunkline.files import MANIFEST, read_json
    from trunkline.stages import ENCODED, REBALANCE
    from trunkline.training.checkpoint import identity
    from trunkline.training.fit import choose_device

    return identity(
        {
            "group": group,
            "declared": project.model_dump(mode="json", include=RECIPE),
            "tasks": {name: project.tasks[name].model_dump(mode="json") for name in group},
            "rows": [read_json(path) for path in sorted((root / ENCODED).rglob(MANIFEST))],
            "labels": [read_json(root / ENCODED / "labels" / f"{name}.json") for name in group],
            "plans": [read_json(root / REBALANCE / f"{name}.json") for name in group],
            "device": choose_device(project.training.device).type,
        }
    )


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
