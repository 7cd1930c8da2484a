"""Train every contender on the same rows and score it on the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.experiments.planted import quiet
from benchmarks.measure import Stopwatch
from benchmarks.quality.recipes import BASE, Recipe
from benchmarks.quality.trees import boosted, inputs
from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.files import write_json
from trunkline.project import PARAMS, Project, parse_project, read_yaml
from trunkline.tasks import Task, TaskState

SIDES = ("validation", "test")
Values = np.ndarray[Any, Any]


class Contender(NamedTuple):
    """What one way of predicting all tasks reached.

    Attributes:
        name: In the table.
        scores: Per side and task the primary metric of every seed, [seeds].
        cpu: CPU seconds of training per seed.
    """

    name: str
    scores: dict[str, dict[str, Values]]
    cpu: float


def project_of(root: Path, recipe: Recipe, share: float, seeds: int) -> Project:
    """Return the demo's project with a recipe's changes, for a share of the training rows."""
    content = read_yaml(root / PARAMS)
    fixed = {
        "training": {"seeds": seeds, **recipe.training(share), "keep": "last"},
        "monitor": {"every": 0, "lookahead": 0},
        "split": {"train_share": share},
    }
    for changes in (fixed, recipe.changes):
        for section, settings in changes.items():
            # A kind brings its own settings: those of another kind do not fit it.
            same = settings.get("kind") in (None, content[section].get("kind"))
            content[section] = {**(content[section] if same or section == "trunk" else {}), **settings}
    return parse_project(content)


def contest(
    root: Path, folder: Path, share: float, seeds: int, recipes: Sequence[Recipe], report: Callable[[str], None]
) -> Iterator[Contender]:
    """Yield one contender after the other: a constant prediction, trees, models for one task alone, then the recipes.

    Args:
        root: A checkout with data/validated.
        folder: An empty folder for the stages' files.
        share: Of the training rows.
        seeds: Trainings per contender.
        recipes: What the shared models do.
        report: Takes the name of what begins.
    """
    project = project_of(root, BASE, share, seeds)
    shutil.copytree(root / stages.VALIDATED, folder / stages.VALIDATED)
    write_json(folder / stages.REPORTS / "validation.json", {})
    with quiet():
        stages.split(folder, project)
        stages.rebalance(folder, project)
        stages.encode(folder, project)
    yield _constant(folder, project)
    report("trees")
    yield _trees(folder, project, seeds)
    for recipe in recipes:
        project = project_of(root, recipe, share, seeds)
        if recipe.alone:
            report(f"alone: {recipe.name}")
            yield _alone(folder, project, f"alone: {recipe.name}", seeds)
        report(recipe.name)
        yield _shared(folder, project, recipe.name, seeds)


def _constant(folder: Path, project: Project) -> Contender:
    encoded, scores = Encoded(folder / stages.ENCODED, list(project.tasks)), _empty(project.tasks)
    for side in SIDES:
        for name, task in project.tasks.items():
            labels = np.asarray(encoded.side(side).labels[name], dtype=np.float64)
            prediction = np.repeat(task.constant(encoded.states[name]), len(labels), axis=0)
            scores[side][name].append(_primary(task, encoded.states[name], labels, prediction))
    return Contender("constant prediction", _arrays(scores), 0.0)


def _trees(folder: Path, project: Project, seeds: int) -> Contender:
    from trunkline.training.arm import halves

    encoded = Encoded(folder / stages.ENCODED, list(project.tasks))
    rows = pl.read_parquet(folder / stages.SPLIT / "rows.parquet")
    x = inputs(project.columns, rows)
    of_side = {side: (rows["side"] == side).to_numpy() for side in ("train", *SIDES)}
    choosing, _ = halves(int(of_side["validation"].sum()), project.seed)
    watch, scores = Stopwatch(), _empty(project.tasks)
    for name, task in project.tasks.items():
        labels = rows[task.target].cast(pl.Float64).to_numpy()
        of_sides = {side: (x[mask], labels[mask]) for side, mask in of_side.items()}
        for seed in range(seeds):
            found = boosted(
                task, project.columns, {s: a for s, (a, _) in of_sides.items()},
                {s: b for s, (_, b) in of_sides.items()}, choosing, seed,
            )  # fmt: skip
            for side, prediction in found.items():
                scores[side][name].append(_primary(task, encoded.states[name], of_sides[side][1], prediction))
    return Contender("LightGBM per task", _arrays(scores), watch.lap().cpu / seeds)


def _shared(folder: Path, project: Project, name: str, seeds: int) -> Contender:
    shutil.rmtree(folder / stages.SHARED, ignore_errors=True)
    watch = Stopwatch()
    with quiet():
        stages.train(folder, project)
    spent = watch.lap().cpu / seeds
    return Contender(name, _scores(folder, folder / stages.SHARED, project.tasks), spent)


def _alone(folder: Path, project: Project, name: str, seeds: int) -> Contender:
    shutil.rmtree(folder / stages.ALONE, ignore_errors=True)
    watch = Stopwatch()
    with quiet():
        for task in project.tasks:
            stages.baseline(folder, project, task)
    spent, scores = watch.lap().cpu / seeds, {side: {} for side in SIDES}
    for task, declared in project.tasks.items():
        for side, of_task in _scores(folder, folder / stages.ALONE / task, {task: declared}).items():
            scores[side] |= of_task
    return Contender(name, scores, spent)


def _scores(folder: Path, arm: Path, tasks: Mapping[str, Task]) -> dict[str, dict[str, Values]]:
    from trunkline.training.arm import load_arm
    from trunkline.training.judge import predictions

    encoded, scores = Encoded(folder / stages.ENCODED, list(tasks)), _empty(tasks)
    trained = load_arm(arm, encoded.encoder)
    for side in SIDES:
        rows = encoded.side(side)
        for of_seed in predictions(trained, rows):
            for name, task in tasks.items():
                labels = np.asarray(rows.labels[name], dtype=np.float64)
                scores[side][name].append(_primary(task, encoded.states[name], labels, of_seed[name]))
    return _arrays(scores)


def _primary(task: Task, state: TaskState, labels: Values, prediction: Values) -> float:
    known = ~np.isnan(labels)
    return task.scores(labels[known], prediction[known], state)[task.primary_metric]


def _empty(tasks: Mapping[str, Task]) -> dict[str, dict[str, list[float]]]:
    return {side: {name: [] for name in tasks} for side in SIDES}


def _arrays(scores: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Values]]:
    return {side: {name: np.array(found) for name, found in tasks.items()} for side, tasks in scores.items()}
