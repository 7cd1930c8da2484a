"""The seeds of an arm in one pass against one process per seed: what the trainings behind a verdict cost."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks import child
from benchmarks.figures import Measured
from benchmarks.world import Size, World
from trunkline import stages
from trunkline.project import PARAMS

KEY = "seeds.together"


def measure_seeds(world: World, size: Size, folder: Path) -> dict[str, Measured]:
    """Return what the shared arm and one alone arm cost with all seeds together, as a share of one by one.

    Each way is what `trunkline stage` does, start-up and reading of the rows included: once with all seeds, and
    once per seed with `training.seeds: 1` and another `seed`. The gradients' monitor is off on both sides.
    """
    root = folder / "seeds"
    shutil.copytree(world.root / stages.ENCODED, root / stages.ENCODED)
    task, cpu, wall = next(iter(world.project.tasks)), [0.0, 0.0], [0.0, 0.0]
    ways = [[(1, size.seeds)], [(seed, 1) for seed in range(1, size.seeds + 1)]]
    for way, runs in enumerate(ways):
        for seed, seeds in runs:
            _declare(world, root, seed, seeds)
            for words in (["train"], ["baseline", "--task", task]):
                cost = child.run([sys.executable, "-m", "trunkline", "stage", *words], root)
                if cost.code:
                    return {KEY: Measured(None, why=f"`trunkline stage {words[0]}` ended with code {cost.code}")}
                cpu[way] += cost.cpu
                wall[way] += cost.wall
    return {KEY: Measured(cpu[0] / cpu[1], wall[0] / wall[1])}


def _declare(world: World, root: Path, seed: int, seeds: int) -> None:
    yaml = YAML()
    declared = yaml.load((world.root / PARAMS).read_text())
    declared["seed"], declared["monitor"] = seed, {"every": 0, "lookahead": 0}
    declared.setdefault("training", {}).update({"seeds": seeds, "device": "cpu"})
    with open(root / PARAMS, "w") as handle:
        yaml.dump(declared, handle)
