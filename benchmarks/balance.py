"""`python -m benchmarks.balance`: what a step costs under each balance method, in steps under equal weights.

The trunk has two layers of 256 units, a step 1,024 rows. In each round every method trains for the same few steps, one
after the other, so that whatever else the machine does meets all of them; the figure is the median of the rounds'
ratios of CPU seconds. With eight tasks, each method that TorchJD has too is also run as a user of TorchJD runs it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from trunkline.training.batches import Rows
    from trunkline.training.fit import Arm

TASKS = (5, 16)
INPUTS, CODES = 40, (16, 3, 105)
BATCH, STEPS = 1024, 25  # whole stretches of every: 5
ROUNDS = 11
OF_LOSSES, OF_FAMO = 1.05, 1.1
OF_SURGERY = {5: 1.3, 16: 1.6}
EXACT, OF_EXACT = "upgrad, level: all, every: 1", 3.5
OF_PEERS, TASKS_OF_PEERS = 3.0, 8
STEPS_OF_PEERS, ROUNDS_OF_PEERS = 10, 5


class Line(NamedTuple):
    """One method with so many tasks: its step in steps of equal weights, and the most that it may be.

    Against TorchJD: how many times faster its step is, and the least that this must be.
    """

    tasks: int
    method: str
    ratio: float
    goal: float
    faster: bool = False

    @property
    def missed(self) -> bool:
        """Whether the goal is missed; so is one that is no number."""
        return not (self.ratio >= self.goal if self.faster else self.ratio <= self.goal)


def measure(tasks: int, rounds: int = ROUNDS, width: int = 256, steps: int = STEPS) -> list[Line]:
    """Return what each method costs with `tasks` tasks.

    Args:
        tasks: Their number.
        rounds: Turns that each method gets.
        width: Units of a layer.
        steps: Per turn.
    """
    import torch

    from benchmarks.measure import in_turns, times_faster
    from trunkline.training.checkpoint import Checkpoints
    from trunkline.training.fit import _Trainer

    torch.set_num_threads(1)
    rows = _rows(tasks, BATCH * steps)
    methods = _methods(tasks)
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Checkpoints(Path(folder), "bench")
        trainers = {
            name: _Trainer(_arm(method, tasks, width), rows, rows, [1], nowhere, print, None)
            for name, (method, _) in methods.items()
        }
        spent = in_turns({name: trainer._train_epoch for name, trainer in trainers.items()}, rounds)
    return [
        Line(tasks, name, times_faster(spent["equal"], spent[name]).cpu, goal)
        for name, (_, goal) in methods.items()
        if name != "equal"
    ]


def against_torchjd(
    rounds: int = ROUNDS_OF_PEERS, width: int = 256, steps: int = STEPS_OF_PEERS, tasks: int = TASKS_OF_PEERS
) -> list[Line]:
    """Return how many times faster our methods, at their default setting, are than TorchJD's.

    Args:
        rounds: Turns that each gets.
        width: Units of a layer.
        steps: Per turn.
        tasks: Their number.
    """
    import torch

    from benchmarks.measure import in_turns, times_faster
    from benchmarks.peer_steps import AGGREGATORS, epoch_of_torchjd
    from trunkline.training.checkpoint import Checkpoints
    from trunkline.training.fit import _Trainer

    torch.set_num_threads(1)
    rows, methods, works = _rows(tasks, BATCH * steps), _methods(tasks), {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in AGGREGATORS:
            arm = _arm(methods[kind][0], tasks, width)
            works[kind] = _Trainer(arm, rows, rows, [1], Checkpoints(Path(folder), kind), print, None)._train_epoch
            works[f"TorchJD's {kind}"] = epoch_of_torchjd(arm, rows, kind)
        spent = in_turns(works, rounds)
    return [
        Line(tasks, f"{kind}, faster than TorchJD's",
             times_faster(spent[kind], spent[f"TorchJD's {kind}"]).cpu, OF_PEERS, True)
        for kind in AGGREGATORS
    ]  # fmt: skip


def _methods(tasks: int) -> dict[str, tuple[Any, float]]:
    """Return each method at its default setting, with the most that it may cost."""
    from typing import get_args

    from pydantic import TypeAdapter

    from trunkline.balance import Balance, GradientMethod

    read = TypeAdapter(Balance).validate_python
    found = {}
    for method in get_args(get_args(Balance)[0]):
        kind = get_args(method.model_fields["kind"].annotation)[0]
        of_losses = OF_FAMO if kind == "famo" else OF_LOSSES
        goal = OF_SURGERY.get(tasks, OF_EXACT) if issubclass(method, GradientMethod) else of_losses
        more = {"name": "IMTLG"} if kind == "torchjd" else {}
        found[kind] = read({"kind": kind, **more}), goal
    if tasks == TASKS[0]:
        found[EXACT] = read({"kind": "upgrad", "level": "all", "every": 1}), OF_EXACT
    return found


def _rows(tasks: int, count: int) -> Rows:
    import numpy as np
    import torch

    from trunkline.training.batches import Rows

    chance = np.random.default_rng(0)
    features = chance.normal(size=(count, INPUTS)).astype(np.float32)
    codes = np.stack([chance.integers(0, words, count) for words in CODES], axis=1).astype(np.int32)
    targets = np.tanh(features @ chance.normal(size=(INPUTS, tasks)) / 4) + 0.5 * chance.normal(size=(count, tasks))
    targets[:, 1::2] = targets[:, 1::2] > 0  # every second task has two classes
    targets[chance.random(targets.shape) < 0.05] = np.nan
    groups, weights = torch.zeros(count, 0, dtype=torch.int32), torch.zeros(count, 0)
    return Rows(features, codes, torch.from_numpy(targets).float(), groups, weights)


def _arm(method: Any, tasks: int, width: int) -> Arm:
    from trunkline.nets.declarations import MLPTrunk
    from trunkline.training.declarations import Training
    from trunkline.training.fit import Arm

    number = {"kind": "regression", "loss": "squared", "center": 0.0, "spread": 1.0, "clip": None}
    kinds = [{**number, "constant_loss": 0.65}, {"kind": "binary", "constant_loss": 0.69}]
    states: Any = {f"t{place}": {**kinds[place % 2], "outputs": 1, "bias": [0.0]} for place in range(tasks)}
    recipe = Training(epochs=100, batch=BATCH, device="cpu")
    weights = dict.fromkeys(states, 1.0)
    return Arm("shared", states, weights, INPUTS, list(CODES), MLPTrunk(width=width, depth=2), method, recipe)


def main() -> int:
    """Measure and print a table.

    Returns:
        1 where a goal is missed, else 0.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch and numpy are loaded
    return report([*(line for tasks in TASKS for line in measure(tasks)), *against_torchjd()])


def report(lines: list[Line]) -> int:
    """Print the table; return 1 where a goal is missed, else 0."""
    print(f"{'tasks':>5}  {'method':<32}  {'times':>7}  goal")
    for line in lines:
        bound = f"{'>=' if line.faster else '<='} {line.goal:g}"
        print(f"{line.tasks:>5}  {line.method:<32}  {line.ratio:>7.3f}  {bound}{'  MISSED' if line.missed else ''}")
    return int(any(line.missed for line in lines))


if __name__ == "__main__":
    sys.exit(main())
