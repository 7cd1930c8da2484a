"""Predictions of a fitted arm on the test rows, as the exported file will give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trunkline.data.encode import Arrays, Encoded
from trunkline.evaluation.calibration import measure_coverage
from trunkline.evaluation.evidence import Evidence
from trunkline.nets.network import Network
from trunkline.tasks import Task, TaskState
from trunkline.tasks._modules import Correction, Predict
from trunkline.training.arm import Trained, load_arm
from trunkline.training.conformal import region_arrays
from trunkline.training.forward import network_outputs


def predictions(trained: Trained, rows: Arrays) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return, per seed, the calibrated prediction of every task of the arm, [rows, 1 or classes]."""
    return [
        _predictions(network, corrections, trained.states, rows)
        for network, corrections in zip(trained.networks, trained.corrections, strict=True)
    ]


def _predictions(
    network: Network, corrections: dict[str, Correction], states: dict[str, TaskState], rows: Arrays
) -> dict[str, np.ndarray[Any, Any]]:
    outputs = network_outputs(network, rows.features, rows.codes)
    with torch.inference_mode():
        found = Predict(list(states.values()), [corrections[name] for name in states])(outputs)
    return {name: prediction.numpy() for name, prediction in zip(states, found, strict=True)}


def collect_evidence(
    tasks: Mapping[str, Task], encoded: Encoded, trained: Trained, alone: Path, threads: int
) -> list[Evidence]:
    """Return what the verdicts rest on: both arms' predictions of every task on the test rows.

    Args:
        tasks: The declared tasks.
        encoded: The encoded rows.
        trained: The shared arm.
        alone: Folder of the alone arms, one per task.
        threads: CPU threads.

    """
    torch.set_num_threads(threads)
    rows = encoded.side("test")
    of_shared = predictions(trained, rows)
    return [
        Evidence(
            name=name,
            task=task,
            state=encoded.states[name],
            labels=np.asarray(rows.labels[name], dtype=np.float64),
            shared=np.stack([found[name] for found in of_shared]),
            alone=np.stack([found[name] for found in predictions(load_arm(alone / name, encoded.encoder), rows)]),
            exported=trained.best_seed,
        )
        for name, task in tasks.items()
    ]


def exported_predictions(
    trained: Trained, encoded: Encoded, sides: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return each task's labels [rows] and the exported seed's predictions [rows, 1 or classes] of all rows.

    Args:
        trained: The shared arm.
        encoded: The encoded rows.
        sides: True where a row of data/split/ belongs to a side, bool [rows], by side.

    Returns:
        Float arrays in the order of data/split/; NaN = no label.
    """
    best, rows = trained.best_seed, len(next(iter(sides.values())))
    parts = {}
    for side, mask in sides.items():
        arrays = encoded.side(side)
        found = _predictions(trained.networks[best], trained.corrections[best], trained.states, arrays)
        parts[side] = mask, arrays.labels, found
    return {
        name: (
            _in_order(rows, [(mask, labels[name]) for mask, labels, _ in parts.values()]),
            _in_order(rows, [(mask, found[name]) for mask, _, found in parts.values()]),
        )
        for name in trained.states
    }


def _in_order(rows: int, parts: Sequence[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> np.ndarray[Any, Any]:
    """Return the values of all sides in the order of their rows."""
    whole = np.full((rows, *parts[0][1].shape[1:]), np.nan, dtype=np.float32)
    for mask, values in parts:
        whole[mask] = values
    return whole


def measured_coverage(trained: Trained, evidence: Sequence[Evidence]) -> dict[str, dict[str, Any]]:
    """Return how often the exported seed's intervals and sets held the label, for the tasks that give one.

    Args:
        trained: The shared arm.
        evidence: Its tasks on the test rows.
    """
    regions = trained.regions[trained.best_seed]
    return {
        each.name: measure_coverage(
            each.state,
            each.labels,
            region_arrays(each.state, regions[each.name], each.shared[each.exported]),
            regions[each.name].coverage,
        )
        for each in evidence
        if each.name in regions and each.known.any()
    }
