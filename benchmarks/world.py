"""What is measured: the demo's rows and models where it has been run, else rows of the same shape, made up."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.made_up import write_project
from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.files import MANIFEST
from trunkline.project import PARAMS, Project, load_project
from trunkline.training.batches import Rows


class Size(NamedTuple):
    """How much is measured."""

    made_up_rows: int = 336_776
    tasks: int = 5
    width: int = 256
    training_rows: int = 49_152
    training_rounds: int = 17
    training_epochs: int = 6
    """Of the training whose memory is watched."""

    seeds: int = 5
    """Trainings per arm."""

    serving_rounds: int = 31
    predict_rows: int = 1_000_000
    predict_rounds: int = 3
    command_rounds: int = 5


WHOLE = Size()
FULL = WHOLE._replace(predict_rows=3_300_000, predict_rounds=1)  # ten times the demo's flights
TINY = Size(13_000, 1, 16, 8192, 1, 3, 2, 2, 10_000, 1, 1)  # shows that everything runs; its figures say nothing


class World(NamedTuple):
    """A project whose stages have run."""

    root: Path
    project: Project

    def encoded(self) -> Encoded:
        """Open the encoded rows."""
        return Encoded(self.root / stages.ENCODED, list(self.project.tasks))


def of_root(root: Path) -> World:
    """Return the project in `root`."""
    return World(root, load_project(root))


def has_run(root: Path) -> bool:
    """Whether `root` holds a project with everything that is measured: rows, encoded rows, models, the file."""
    if not (root / PARAMS).exists():
        return False
    alone = [stages.ALONE / task for task in load_project(root).tasks]
    folders = [stages.SPLIT, stages.ENCODED, stages.SHARED, *alone, stages.EXPORT]
    return all((root / folder / MANIFEST).exists() for folder in folders)


def made_up(root: Path, size: Size) -> World:
    """Make a project of the demo's shape in `root` and run its stages from encode on."""
    write_project(root, size.made_up_rows, size.tasks, size.width)
    world = of_root(root)
    stages.rebalance(root, world.project)
    stages.encode(root, world.project)
    stages.train(root, world.project)
    for task in world.project.tasks:
        stages.baseline(root, world.project, task)
    stages.evaluate(root, world.project)
    stages.export(root, world.project)
    return world


def spread(rows: Rows, count: int) -> Rows:
    """Return `count` rows taken evenly from all, in memory; all where there are fewer."""
    places = np.unique(np.linspace(0, len(rows.features) - 1, count).astype(np.int64))
    return rows.subset(places)
