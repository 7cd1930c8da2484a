"""Three tables of very different sizes: draws follow their law, and every rule has the same number of steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from scipy import stats

from benchmarks.experiments.finding import Finding
from trunkline.training.batches import Rows
from trunkline.training.declarations import Training
from trunkline.training.sampling import Sampling
from trunkline.training.sampling._sampler import Feed
from trunkline.training.sampling.laws import When

SIZES = (20_000, 1_000, 100)
BATCH, DRAWS = 64, 50_000
TEMPERATURES = (1.0, 2.0, 5.0, math.inf)


def feed(batch: int, seeds: int, epochs: int) -> Feed:
    """Return rows of which each has a label of one of three tasks."""
    owner = np.repeat(np.arange(len(SIZES)), SIZES)
    targets = np.where(owner[:, None] == np.arange(len(SIZES)), 0.0, np.nan)
    nothing = torch.zeros(len(owner), 0, dtype=torch.int32)
    features = np.zeros((len(owner), 1), dtype=np.float32)
    rows = Rows(features, nothing.numpy(), torch.from_numpy(targets).float(), nothing, nothing.float())
    states = {f"task{place}": {"kind": "regression"} for place in range(len(SIZES))}
    recipe = Training(batch=batch, epochs=epochs)
    return Feed(rows, states, dict.fromkeys(states, 1.0), recipe, tuple(range(seeds)))


def rule(**content: Any) -> Any:
    """Return the declared rule."""
    return TypeAdapter(Sampling).validate_python(content)


def counted(declared: Any, given: Feed, epoch: int = 0) -> tuple[int, Any]:
    """Return the steps of an epoch, and how many each task was drawn for, over all members."""
    sampler, steps, counts = declared.build(given), 0, torch.zeros(len(SIZES), dtype=torch.int64)
    for batch in sampler.epoch(epoch, torch.device("cpu")):
        known = ~batch.targets.isnan().all(dim=1)
        sampler.observe(known.float())
        steps, counts = steps + 1, counts + known.sum(dim=0)
    return steps, counts.numpy()


def run() -> list[Finding]:
    """Compare draws with their law, exponents with the formula, and the steps of all rules."""
    given = feed(batch=2, seeds=-(-2 * DRAWS // sum(SIZES)), epochs=5)
    found = []
    for temperature in TEMPERATURES:
        even = math.isinf(temperature)
        declared = rule(kind="uniform") if even else rule(kind="temperature", temperature=temperature)
        _, counts = counted(declared, given)
        shares = np.array(SIZES) ** (1 / temperature)
        p = float(stats.chisquare(counts, counts.sum() * shares / shares.sum()).pvalue)
        found.append(Finding(f"{counts.sum()} draws at temperature {temperature:g}: p of their law", p, 0.001))
    annealed = rule(kind="annealed")
    for epoch in (0, 2, 4):
        _, counts = counted(annealed, given, epoch)
        exponent, wanted = annealed.exponent(When(epoch, 5, 0, 1)), 1 - 0.8 * epoch / 4
        found.append(
            Finding(f"annealed, epoch {epoch + 1} of 5: error of the exponent", abs(exponent - wanted), 0, 1e-12)
        )
        shares = np.array(SIZES) ** wanted
        p = float(stats.chisquare(counts, counts.sum() * shares / shares.sum()).pvalue)
        found.append(Finding(f"annealed, epoch {epoch + 1} of 5: p of its law", p, 0.001))
    return [*found, _budgets()]


def _budgets() -> Finding:
    """Return how many different numbers of steps the rules have."""
    kinds = ("shuffle", "label_aware", "proportional", "square_root", "temperature", "uniform", "annealed", "bandit")
    rules = [*(rule(kind=kind) for kind in kinds), rule(kind="pretrain_then_joint", tasks=["task0"])]
    given = feed(BATCH * 4, seeds=1, epochs=5)
    steps = {counted(declared, given)[0] for declared in rules}
    return Finding(f"different numbers of steps under {len(rules)} rules", len(steps), 1, 1)
