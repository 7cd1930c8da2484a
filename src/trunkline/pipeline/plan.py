"""Which stages a run would run, and why. Nothing is executed and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trunkline.pipeline.dvc_repo import open_repo

SAID = {"modified": "changed", "deleted": "is missing", "new": "is new", "not in cache": "is not in DVC's cache"}


class Planned(NamedTuple):
    """What would happen to one stage."""

    name: str
    reasons: list[str]
    """Why it would run; empty where it would not."""


def plan(root: Path) -> list[Planned]:
    """Return every stage in the order of a run, with the reasons to run it.

    A stage behind one that would run counts as would run too, though it is skipped when that one's output comes
    out the same.

    Raises:
        ParamsError: No project here, or params.yaml, dvc.yaml or dvc.lock is broken.
    """
    from trunkline.project import load_project

    root = root.resolve()
    load_project(root)
    with open_repo(root) as repo:
        from dvc.repo.reproduce import get_active_graph, plan_repro

        status = repo.status()
        graph = get_active_graph(repo.index.graph)
        reasons: dict[Any, list[str]] = {}
        for stage in plan_repro(graph):
            upstream = [other for other in graph.successors(stage) if reasons.get(other)]
            reasons[stage] = [*_own(stage, status.get(stage.addressing, []), upstream), *_because(upstream)]
        return [Planned(stage.addressing, why) for stage, why in reasons.items() if getattr(stage, "name", None)]


def _because(upstream: list[Any]) -> list[str]:
    names = ", ".join(sorted(stage.addressing for stage in upstream))
    return [f"because {names} would run"] if names else []


def _own(stage: Any, status: list[Any], upstream: list[Any]) -> list[str]:
    if status and not any(dep.hash_info for dep in stage.deps):
        return ["never run"]
    made = [str(out) for other in upstream for out in other.outs]
    found: list[str] = []
    for entry in status:
        if isinstance(entry, str):
            found.append(entry)
            continue
        for path, what in entry.get("changed deps", {}).items():
            if isinstance(what, dict):
                found += _params(stage, what)
            elif not any(_overlaps(path, other) for other in made):
                found.append(f"{path} {SAID.get(what, what)}")
        found += [f"{path} {SAID.get(what, what)}" for path, what in entry.get("changed outs", {}).items()]
    return found


def _overlaps(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _params(stage: Any, changed: dict[str, str]) -> list[str]:
    """Return `params training.epochs 3 -> 5` for each leaf that differs from the last run."""
    from dvc.dependency.param import ParamsDependency

    found: list[str] = []
    for dep in stage.deps:
        if not isinstance(dep, ParamsDependency):
            continue
        before, now = dict(dep.hash_info.value or {}), dep.read_params()
        for key in changed:
            old, new = dict(_leaves(key, before.get(key))), dict(_leaves(key, now.get(key)))
            differ = [leaf for leaf in dict.fromkeys([*old, *new]) if old.get(leaf) != new.get(leaf)]
            found += [f"params {leaf} {old.get(leaf, '(none)')} -> {new.get(leaf, '(none)')}" for leaf in differ]
    return found


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value
