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
from trunkline.training.arm import Trained, load_arm, network_outputs
from trunkline.training.conformal import region_arrays


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
