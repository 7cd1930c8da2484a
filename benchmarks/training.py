"""Our training loop in turns with the plain ways to train the same network on the same rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.figures import BATCHES, Measured
from benchmarks.loops import PlainTraining
from benchmarks.measure import Spent, Stopwatch, rate, times_faster
from benchmarks.world import Size, World, spread
from trunkline.balance import EqualWeights
from trunkline.training.arm import as_rows, shared_arm
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.fit import Arm, fit

SELECTION_ROWS = 1000  # scored at the end of each of our epochs


def measure_training(world: World, size: Size) -> dict[str, Measured]:
    """Return throughput and ratios for every batch size."""
    figures: dict[str, Measured] = {}
    for batch in BATCHES:
        rows, spent = _epochs(world, batch, size)
        figures |= {
            f"training.{batch}.rows": Measured.of(rate(rows, spent["ours"])),
            f"training.{batch}.bare": Measured.of(times_faster(spent["ours"], spent["bare"])),
            f"training.{batch}.loader": Measured.of(times_faster(spent["ours"], spent["loader"])),
        }
    return figures


def recipe(world: World, **changes: object) -> Arm:
    """Return the shared arm as params.yaml declares it, on the CPU, with equal weights and some settings changed."""
    project = world.project
    training = project.training.model_copy(update={"device": "cpu", "early_stop": None, **changes})
    return shared_arm(project.tasks, world.encoded(), project.trunk, EqualWeights(), training)


class _Turns:
    """Called at the end of each of our epochs: lets the others train for one, too.

    Our epoch is what lies between two calls: the steps, the validation rows, the checkpoint. It runs with
    deterministic algorithms, as the train stage does; the others without.
    """

    def __init__(self, plain: PlainTraining) -> None:
        self.others = {"bare": plain.bare_epoch, "loader": plain.loader_epoch}
        self.spent: dict[str, list[Spent]] = {"ours": [], "bare": [], "loader": []}
        self.watch = Stopwatch()

    def __call__(self, line: str) -> None:
        self.spent["ours"].append(self.watch.lap())
        torch.use_deterministic_algorithms(False)
        for name, epoch in self.others.items():
            self.watch.lap()
            epoch()
            self.spent[name].append(self.watch.lap())
        torch.use_deterministic_algorithms(True)
        self.watch.lap()


def _epochs(world: World, batch: int, size: Size) -> tuple[int, dict[str, list[Spent]]]:
    """Return the rows that an epoch steps through, and what each epoch of each loop took."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arm = recipe(world, batch=batch, epochs=1 + size.training_rounds)
    train, selection = (as_rows(world.encoded().side(side), arm) for side in ("train", "validation"))
    train = spread(train, size.training_rows)
    turns = _Turns(PlainTraining(arm, train))
    with tempfile.TemporaryDirectory() as folder:
        fit(arm, train, spread(selection, SELECTION_ROWS), [1], Checkpoints(Path(folder), "bench"), turns)
    torch.use_deterministic_algorithms(False)
    after_warming_up = {name: spent[1:] for name, spent in turns.spent.items()}
    return len(train.features) // batch * batch, after_warming_up
