"""Memory of the training from epoch to epoch, watched in a process of its own.

python -m benchmarks.memory ROOT EPOCHS     prints the resident bytes after each epoch as a JSON list

Each time, what the allocator keeps free for later is given back first: that slack comes and goes by several percent
with the order of large blocks, while what is in use was measured to stay within a tenth of a percent.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import child
from benchmarks.figures import Measured
from benchmarks.world import Size, World, of_root

EARLY = 2  # by the end of this epoch every array has been seen and every buffer exists


def measure_memory(world: World, size: Size) -> dict[str, Measured]:
    """Return by how many percent the memory grew between epoch 2 and the last."""
    command = [sys.executable, "-m", "benchmarks.memory", str(world.root.resolve()), str(size.training_epochs)]
    cost = child.run(command, Path(__file__).parents[1])
    if cost.code:
        raise RuntimeError(f"{' '.join(command)} ended with code {cost.code}: {cost.stderr.strip()}")
    resident = json.loads(cost.stdout)
    return {"training.growth": Measured(100 * (resident[-1] / resident[EARLY - 1] - 1))}


def _train(root: Path, epochs: int) -> list[int]:
    import torch

    from benchmarks.training import recipe
    from trunkline.training.arm import as_rows
    from trunkline.training.checkpoint import Checkpoints
    from trunkline.training.fit import fit

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    world = of_root(root)
    arm = recipe(world, epochs=epochs)
    train, selection = (as_rows(world.encoded().side(side), arm) for side in ("train", "validation"))
    resident: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), "bench")
        fit(arm, train, selection, [1], checkpoints, lambda _: resident.append(_in_use()))
    return resident


def _in_use() -> int:
    import psutil

    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc only
        give_back(0)
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    print(json.dumps(_train(Path(sys.argv[1]), int(sys.argv[2]))))
