"""Predictions of a fitted arm on the test rows, as the exported file will give them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trunkline.data.encode import Arrays, Encoded
from trunkline.evaluation.score import compose, mean_scores, score_task, transfer
from trunkline.nets.network import Network
from trunkline.tasks import Task, TaskState
from trunkline.tasks._modules import Correction, Predict
from trunkline.training.arm import Trained, load_arm, network_outputs


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


def evaluate_arms(
    tasks: Mapping[str, Task], encoded: Encoded, shared: Path, alone: Path, threads: int
) -> dict[str, Any]:
    """Return reports/evaluation.json: every task's scores on the test rows, shared beside alone.

    Args:
        tasks: The declared tasks.
        encoded: The encoded rows.
        shared: Folder of the shared arm.
        alone: Folder of the alone arms, one per task.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    rows = encoded.side("test")
    trained = load_arm(shared, encoded.encoder)
    of_seeds = predictions(trained, rows)
    judged = {}
    for name, task in tasks.items():
        state, labels = encoded.states[name], np.asarray(rows.labels[name])
        of_alone = predictions(load_arm(alone / name, encoded.encoder), rows)
        shared_scores, alone_scores = (
            [score_task(task, state, labels, found[name]) for found in arm] for arm in (of_seeds, of_alone)
        )
        judged[name] = {
            "kind": task.kind,
            "labelled": encoded.labelled[name],
            **({"prevalence": state["prevalence"]} if "prevalence" in state else {}),
            "primary": task.primary_metric,
            "higher_is_better": task.metrics[task.primary_metric].higher_is_better,
            "shared": mean_scores(shared_scores),
            "alone": mean_scores(alone_scores),
            "exported": shared_scores[trained.best_seed],
            "transfer": transfer(task, mean_scores(shared_scores), mean_scores(alone_scores), len(of_seeds)),
        }
    return {"version": 1, "tasks": judged, "composite": compose(judged), "gates": [], "deployable": True}
