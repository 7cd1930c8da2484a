"""The files of a trained arm's folder, in which order they are sealed; training/arm.py says what each holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from trunkline.files import seal, to_json, write_bytes, write_text
from trunkline.nets.network import Network
from trunkline.training.affinity import AffinityMeter
from trunkline.training.declarations import Training
from trunkline.training.fit import Arm, Fitted, choose_device
from trunkline.training.monitoring.watch import Watch
from trunkline.training.processes import Processes
from trunkline.training.rebalanced import Plan


def arm_texts(
    arm: Arm,
    fitted: list[Fitted],
    calibration: dict[str, Any],
    tuned: dict[str, Any],
    threads: int,
    processes: Processes,
    meter: AffinityMeter | None,
    watch: Watch | None,
    steps: int,
) -> dict[str, str]:
    """Return the text of each file that is no weights, by its name.

    Args:
        arm: Tasks and recipe.
        fitted: What each seed left.
        calibration: Of the outputs.
        tuned: Epochs and learning rate with their trials, and what gates do.
        threads: CPU threads.
        processes: Those that trained.
        meter: It measured how the tasks' gradients agree.
        watch: It looked at each task.
        steps: Per epoch.
    """
    found = tuned | _of_plans(arm.plans) | ({"alarms": watch.alarms.raised} if watch else {}) | in_number(processes)
    history = [{"seed": place, **row} for place, of_seed in enumerate(fitted) for row in of_seed.history]
    texts = {
        "calibration.json": to_json(calibration),
        "run.json": to_json(_description(arm, threads, fitted, found)),
        "history.tsv": _tsv(history),
    }
    if meter is not None:
        texts["affinity.json"] = to_json(meter.result())
    if watch is not None:
        texts |= {name: _tsv(table) for name, table in watch.tables(steps).items()}
    return texts


def write_arm(target: Path, networks: Sequence[Network], texts: Mapping[str, str]) -> None:
    """Write an arm's folder and seal it.

    Args:
        target: The folder.
        networks: One per seed.
        texts: Its other files, by their names.
    """
    weights = {f"{place}.safetensors": network for place, network in enumerate(networks)}
    for name, network in weights.items():
        write_bytes(target / name, weight_bytes(network))
    for name, text in texts.items():
        write_text(target / name, text)
    seal(target, [*weights, *texts])


def weight_bytes(network: Network) -> bytes:
    """Return the weights as safetensors; one metadata key, because several come in no fixed order."""
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(network.state_dict().items())}
    return save(tensors, metadata={"trunkline": json.dumps({"version": 1})})


def in_number(processes: Processes) -> dict[str, object]:
    """Return how many processes trained, where it was not one: other last bits, as with other threads."""
    return {"processes": processes.number} if processes.number > 1 else {}


def _description(arm: Arm, threads: int, fitted: list[Fitted], tuned: dict[str, object]) -> dict[str, object]:
    best = max(range(len(fitted)), key=lambda place: fitted[place].composite)
    return {
        "version": 1,
        "arm": arm.name,
        "tasks": arm.states,
        "trunk": arm.trunk.model_dump(mode="json"),
        "sharing": arm.sharing.model_dump(mode="json"),
        **({"auxiliary": arm.fadings} if arm.fadings else {}),
        "epochs": arm.training.epochs,
        "batch": arm.training.batch,
        "threads": threads,
        "device": choose_device(arm.training.device).type,
        **_of_precision(arm.training),
        "torch": torch.__version__.split("+")[0],
        "seeds": [_run(of_seed) for of_seed in fitted],
        "best_seed": best,
        **tuned,
        **({"sampling": fitted[0].sampling} if fitted[0].sampling else {}),
    }


def _run(fitted: Fitted) -> dict[str, object]:
    return {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "composite": fitted.composite,
        "start_losses": fitted.start_losses,
    }


def _of_plans(plans: dict[str, Plan]) -> dict[str, object]:
    shown = ("rule", "classes", "class_weights", "prior_shift")
    held = {name: {part: plan[part] for part in shown} for name, plan in plans.items()}
    return {"rebalance": held} if held else {}


def _of_precision(training: Training) -> dict[str, object]:
    return {} if training.precision == "auto" else {"precision": training.precision}  # auto follows from the device


def _tsv(history: list[dict[str, Any]]) -> str:
    lines = ["\t".join(history[0])]
    lines += ["\t".join(map(_cell, row.values())) for row in history]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.8g}"
