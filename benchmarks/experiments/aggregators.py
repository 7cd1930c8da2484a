"""What every weighting of gradients must keep, on random gradients; and whether ours are TorchJD's where it is right.

source  the contract: finite for any gradients; a task without gradient as if it were not there; the unit of the losses
        does not turn the step; blind to single lengths where the method promises it; Nash's and UPGrad's own laws
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np

from benchmarks.experiments.finding import Finding

WORLDS, MOST_TASKS, WIDTH = 30, 10, 20
BLIND = ("upgrad", "imtl_g", "nash")  # to the length of single gradients
ALIKE = 0.999  # cosine from which on two steps go one way
Array = np.ndarray[Any, np.dtype[np.float64]]


def kinds() -> list[str]:
    """Return every method that weighs gradients."""
    from trunkline.balance import Balance, GradientMethod

    methods = get_args(get_args(Balance)[0])
    return [get_args(each.model_fields["kind"].annotation)[0] for each in methods if issubclass(each, GradientMethod)]


def weights_of(kind: str, rows: Array, **settings: Any) -> Array:
    """Return the weights that a training would give gradients, one per row, found from their Gramian."""
    import torch
    from pydantic import TypeAdapter

    from trunkline.balance import Balance, Moment

    needed = {"name": "FairGrad", "settings": {"alpha": 1.0}} if kind == "torchjd" else {}
    method = TypeAdapter(Balance).validate_python({"kind": kind, **needed, **settings})
    count = len(rows)
    module: Any = method.build([str(task) for task in range(count)], torch.ones(count))
    module.used.zero_()
    seen = torch.ones(count, dtype=torch.bool)
    module.find(torch.from_numpy(rows @ rows.T), torch.ones(count), seen, Moment(0, [3]))
    found: Array = module.used.double().numpy()
    return found


def step_of(kind: str, rows: Array) -> Array:
    """Return the step's direction."""
    step: Array = weights_of(kind, rows) @ rows
    return step


def cosine(one: Array, other: Array) -> float:
    """Return the cosine of two directions."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def worlds() -> Iterator[Array]:
    """Yield random gradients of 2 to 10 tasks, which agree a little."""
    draw = np.random.default_rng(0)
    for _ in range(WORLDS):
        yield draw.normal(size=(int(draw.integers(2, MOST_TASKS + 1)), WIDTH)) + 0.3 * draw.normal(size=WIDTH)


def awkward(rows: Array) -> list[Array]:
    """Return gradients that are doubled, turned round, all the same, tiny, huge and nearly dependent."""
    return [
        np.vstack([rows, rows]), np.vstack([rows, -rows]), np.ones((4, 3)), 1e-8 * rows, 1e8 * rows,
        np.diag([1.0, 1e-4, 1e4]), np.vstack([rows, rows[:1] * (1 + 1e-7)]), rows[:1],
    ]  # fmt: skip


def unequal(rows: Array) -> Array:
    """Return the gradients with lengths from 1 to 1000."""
    return rows * np.geomspace(1, 1000, len(rows))[:, None]


def contract(kind: str) -> Iterator[Finding]:
    """Yield what every method must keep."""
    finite = sum(not np.isfinite(weights_of(kind, each)).all() for rows in worlds() for each in awkward(rows))
    yield Finding(f"{kind}: weights that are not finite for awkward gradients", float(finite), 0, 0)
    zero = min(cosine(np.delete(weights_of(kind, np.insert(rows, 1, 0.0, axis=0)), 1) @ rows, step_of(kind, rows))
               for rows in worlds())  # fmt: skip
    unit = min(cosine(step_of(kind, scale * rows), step_of(kind, rows)) for rows in worlds() for scale in (1e-6, 1e6))
    yield Finding(f"{kind}: cosine of the steps with and without a task that has no gradient", zero, low=ALIKE)
    yield Finding(f"{kind}: cosine of the steps for losses a million times smaller or larger", unit, low=ALIKE)
    if kind in BLIND:
        blind = min(cosine(step_of(kind, unequal(rows)), step_of(kind, rows)) for rows in worlds())
        yield Finding(f"{kind}: cosine of the steps for gradients of one length and of 1 to 1000", blind, low=ALIKE)


def laws() -> Iterator[Finding]:
    """Yield the laws of single methods, on gradients of unequal length."""

    def residual(rows: Array) -> float:
        weights = weights_of("nash", rows)
        bargain = weights * (rows @ rows.T @ weights)
        return float(np.abs(bargain / bargain.mean() - 1).max())

    def harm(rows: Array, equal: bool = False) -> float:
        scaled = rows * np.geomspace(1e4, 1, len(rows))[:, None]
        step = scaled.mean(axis=0) if equal else step_of("upgrad", scaled)
        return min(cosine(step, row) for row in scaled)

    def excess(rows: Array) -> float:
        """By how much some gradient projects on MGDA's point less than that is long: 0 at the shortest."""
        weights, gramian = weights_of("mgda", rows), rows @ rows.T
        length = weights @ gramian @ weights
        return float((length - (gramian @ weights).min()) / max(length, 1e-12))

    yield Finding("nash: residual of the bargain", max(residual(unequal(rows)) for rows in worlds()), high=1e-2)
    plain, ours = min(harm(rows, equal=True) for rows in worlds()), min(harm(rows) for rows in worlds())
    yield Finding("equal weights: worst cosine with a task's gradient, lengths 1 to 10,000", plain, high=-0.1)
    yield Finding("upgrad: the same", ours, low=-1e-3)
    yield Finding("mgda: distance from the shortest mean", max(map(excess, worlds())), high=1e-3)


def of_torchjd() -> Iterator[Finding]:
    """Yield how far our steps are from TorchJD's, on gradients where TorchJD's method does what its paper says."""
    import torch
    import torchjd.aggregation as theirs

    from trunkline.chance import stream_seed

    def cosines(kind: str, weighting: Callable[[], Any]) -> float:
        found = []
        for rows in worlds():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream_seed(3, "balance", 0))
                weights = weighting()(torch.from_numpy(rows @ rows.T)).numpy()
            found.append(cosine(weights_of(kind, rows) @ rows, weights @ rows))
        return min(found)

    pairs: dict[str, Callable[[], Any]] = {
        "pcgrad": theirs.PCGradWeighting,
        "imtl_g": theirs.IMTLGWeighting,
        "aligned_mtl": lambda: theirs.AlignedMTLWeighting(scale_mode="rmse"),
        "nash": lambda: theirs.FairGradWeighting(alpha=1.0),
        "torchjd": lambda: theirs.FairGradWeighting(alpha=1.0),
    }
    for kind, weighting in pairs.items():
        yield Finding(f"{kind}: least cosine with TorchJD's step", cosines(kind, weighting), low=ALIKE)


def run() -> list[Finding]:
    """Return the contract of every method, the laws of single ones, and the distance from TorchJD's."""
    return [*(finding for kind in kinds() for finding in contract(kind)), *laws(), *of_torchjd()]
