"""Seven of ten labels missing: what is not there teaches nothing, stalls nothing, and changes no other task's loss."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import World, declared, quiet
from trunkline import stages
from trunkline.balance import Balance
from trunkline.files import read_json
from trunkline.nets.declarations import MLPTrunk
from trunkline.nets.network import Network
from trunkline.tasks._modules import Losses
from trunkline.training.batches import Rows
from trunkline.training.checkpoint import Checkpoints
from trunkline.training.declarations import Training
from trunkline.training.fit import Arm, fit
from trunkline.training.sampling import Sampling

TASKS, ROWS, WIDTH, MISSING = 5, 1500, 8, 0.7
METHODS = (
    "equal", "log", "uncertainty", "dwa", "famo", "tchebycheff", "random", "gradnorm", "pcgrad", "upgrad", "imtl_g",
    "aligned_mtl", "nash", "cagrad", "mgda",
)  # fmt: skip
SHUFFLE = {"kind": "shuffle"}
RULES: tuple[dict[str, Any], ...] = ({"kind": "label_aware", "min_labelled": 8}, {"kind": "square_root"})


def world(seed: int = 1) -> Rows:
    """Return related regressions, most labels missing at random, the last task's beyond the first 40 rows wholly."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(ROWS, WIDTH))
    targets = np.tanh(inputs @ draw.normal(size=(WIDTH, TASKS)) / 2) + 0.3 * draw.normal(size=(ROWS, TASKS))
    targets[draw.random(targets.shape) < MISSING] = np.nan
    targets[40:, -1] = np.nan
    targets = (targets - np.nanmean(targets, axis=0)) / np.nanstd(targets, axis=0)
    nothing = torch.zeros(ROWS, 0, dtype=torch.int32)
    return Rows(inputs.astype(np.float32), nothing.numpy(), torch.from_numpy(targets).float(), nothing, nothing.float())


def states() -> dict[str, Any]:
    """Return the tasks as encode leaves them."""
    state = {"kind": "regression", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "center": 0.0, "spread": 1.0}
    return {f"task{place}": {**state, "clip": None, "loss": "squared"} for place in range(TASKS)}


def gradients(rows: Rows) -> list[Finding]:
    """Compare a task's gradient with that of its labelled rows alone, and losses with those beside empty rows."""
    of = list(states().values())
    network = Network(WIDTH, [], of, MLPTrunk(width=16, depth=2, dropout=0.0), torch.Generator().manual_seed(1)).eval()
    losses, inputs = Losses(of, "constant"), torch.from_numpy(rows.features)
    codes = torch.from_numpy(rows.codes)

    def gradient(places: torch.Tensor, task: int) -> torch.Tensor:
        loss = losses(network(inputs[places], codes[places]), rows.targets[places])[task]
        found = torch.autograd.grad(loss, list(network.parameters()))
        return torch.cat([part.flatten() for part in found])

    everything = torch.arange(ROWS)
    off = [
        gradient(everything, task) - gradient((~rows.targets[:, task].isnan()).nonzero()[:, 0], task)
        for task in range(TASKS)
    ]
    empty = torch.full((1000, TASKS), torch.nan)
    more = network(torch.cat([inputs, inputs[:1000]]), torch.cat([codes, codes[:1000]]))
    beside = losses(more, torch.cat([rows.targets, empty]))
    moved = (beside - losses(network(inputs, codes), rows.targets)).detach()
    return [
        Finding("largest difference to the gradient on labelled rows", float(torch.stack(off).abs().max()), 0, 1e-6),
        Finding("largest change of a loss by 1000 rows without labels", float(moved.abs().max()), 0, 1e-6),
    ]


def trained(rows: Rows, method: str, rule: dict[str, Any], folder: Path) -> float:
    """Return the smallest fall of a task's loss, from the first step to the last epoch; NaN where one is no number."""
    balance = TypeAdapter(Balance).validate_python({"kind": method})
    sampling = TypeAdapter(Sampling).validate_python(rule)
    recipe = Training(epochs=12, batch=128, learning_rate=0.01, device="cpu")
    trunk, weights = MLPTrunk(width=16, depth=2, dropout=0.0), dict.fromkeys(states(), 1.0)
    arm = Arm("shared", states(), weights, WIDTH, [], trunk, balance, recipe, sampling=sampling)
    [fitted] = fit(arm, rows, rows, [1], Checkpoints(folder, "x"), lambda line: None)
    last = fitted.history[-1]
    falls = [start - last[f"validation.{name}"] for name, start in fitted.start_losses.items()]
    return float(np.min(falls))


def told_by_validation(folder: Path) -> list[Finding]:
    """Take in rows whose `high` labels are missing because they are high, and `some` at random; read what is told."""
    draw = np.random.default_rng(2)
    inputs = draw.normal(size=(ROWS, 3))
    values = np.tanh(inputs[:, :1] + 0.3 * draw.normal(size=(ROWS, 2)))
    targets = {
        "high": np.where(values[:, 0] > 0.4, np.nan, values[:, 0]),
        "some": np.where(draw.random(ROWS) < MISSING, np.nan, values[:, 1]),
    }
    planted = World(inputs, targets, (ROWS - 200, 100, 100))
    (folder / stages.INCOMING).mkdir(parents=True)
    pq.write_table(planted.table().drop_columns(["drop"]), folder / stages.INCOMING / "rows.parquet")
    project = declared(planted, {}, data={"source": {"kind": "files"}})
    with quiet():
        stages.ingest(folder, project)
        stages.validate(folder, project)
    warned = read_json(folder / stages.REPORTS / "validation.json")["warnings"]
    of = {name: sum(f"target '{name}': its labels are not missing at random" in line for line in warned)
          for name in targets}  # fmt: skip
    return [
        Finding("validation tells of labels missing for what they say", of["high"], 1, 1),
        Finding("validation is silent on labels missing at random", of["some"], 0, 0),
    ]


def run() -> list[Finding]:
    """Look at gradients and validation, then train under every balance method, and under other rules of sampling."""
    torch.set_num_threads(1)
    rows = world()
    found = gradients(rows)
    with tempfile.TemporaryDirectory() as name:
        found += told_by_validation(Path(name))
    with tempfile.TemporaryDirectory() as name:
        for method in METHODS:
            fall = trained(rows, method, SHUFFLE, Path(name) / method)
            found.append(Finding(f"balance {method}: smallest fall of a task's loss", fall, 0.05))
        for rule in RULES:
            fall = trained(rows, "equal", rule, Path(name) / rule["kind"])
            found.append(Finding(f"sampling {rule['kind']}: smallest fall of a task's loss", fall, 0.05))
    return found
