"""Arms whose predictions are made up: how they differ is known, and nothing has to be trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from trunkline.evaluation.evidence import Evidence
from trunkline.tasks import KINDS

Array = np.ndarray[Any, Any]


def evidence(
    kind: str = "regression",
    name: str = "task",
    rows: int = 400,
    seeds: int = 5,
    shift: float = 0.0,
    noise: float = 0.05,
    seed: int = 0,
    **settings: Any,
) -> Evidence:
    """Return a task that an input explains in part, and two arms that know the input's effect but for their chance.

    Args:
        kind: The task's kind.
        name: Its name.
        rows: Test rows, all labelled.
        seeds: Trainings of an arm.
        shift: How much of the input's effect alone does not know; below 0 shared does not know it.
        noise: Standard deviation of the effects that a training makes up for six inputs.
        seed: Of the chance behind it all.
        **settings: Of the task's declaration.
    """
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(rows, 6))
    task = KINDS[kind].model_validate({"kind": kind, "target": name, **settings})
    labels, answer = _WORLDS[kind](generator, inputs[:, 0])
    known = labels.astype(str).astype(object) if kind == "multiclass" else labels
    state = task.fit(name, known)

    def arm(lacks: float) -> Array:
        made_up = generator.normal(size=(seeds, 6)) * noise
        made_up[:, 0] += 1.0 - lacks
        return np.stack([answer(inputs @ effects).astype(np.float32) for effects in made_up])

    return Evidence(name, task, state, labels.astype(np.float64), arm(max(-shift, 0)), arm(max(shift, 0)), 0)


def _regression(generator: np.random.Generator, signal: Array) -> tuple[Array, Any]:
    return signal + generator.normal(size=len(signal)), lambda value: value[:, None]


def _binary(generator: np.random.Generator, signal: Array) -> tuple[Array, Any]:
    labels = (generator.random(len(signal)) < _chance(signal)).astype(np.float64)
    return labels, lambda value: _chance(value)[:, None]


def _multiclass(generator: np.random.Generator, signal: Array) -> tuple[Array, Any]:
    def chances(value: Array) -> Array:
        weights = np.exp(np.stack([-2 * value, np.zeros_like(value), 2 * value], axis=1))
        return weights / weights.sum(axis=1, keepdims=True)

    labels = (generator.random(len(signal))[:, None] > chances(signal).cumsum(axis=1)[:, :2]).sum(axis=1)
    return labels, chances


def _chance(logit: Array) -> Array:
    return 1 / (1 + np.exp(-2 * logit))


_WORLDS = {"regression": _regression, "binary": _binary, "multiclass": _multiclass}
