"""One arm from encoded rows to files: all seeds fitted together, calibrated and written.

<seed>.safetensors   weights, float32
affinity.json        of the shared arm: how the tasks' gradients agreed, see training/affinity.py
monitor.tsv          of the shared arm: what was seen of each task on the way, see training/monitoring/watch.py
gates.tsv            the same of the gates, of a form that has some
calibration.json     per seed and task slope and shift of the outputs, and what makes the declared intervals and sets
run.json             what was trained and how far, what gates do, and of the shared arm which alarms were raised; no
                     clock, host or revision
history.tsv          one row per seed and epoch: composite, and each task's losses (1.0 = constant prediction); where a
                     task is rebalanced, in training as its rule counts rows, in validation as they are
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trunkline.balance import Balance, EqualWeights
from trunkline.chance import numpy_stream, stream_seed, torch_stream
from trunkline.columns.encoder import Encoder
from trunkline.data.encode import Arrays, Encoded
from trunkline.errors import ArtifactError
from trunkline.files import check_seal, read_json, seal, write_bytes, write_json, write_text
from trunkline.nets.declarations import HardSharing, Sharing, Trunk, read_sharing, read_trunk
from trunkline.nets.gates import gate_report
from trunkline.nets.network import Network, fitted_sharing, narrowed
from trunkline.tasks import Task, TaskState
from trunkline.tasks._modules import Correction, Region, loss_targets
from trunkline.tasks.given import head_labels, loss_labels, placed
from trunkline.training.affinity import AffinityMeter
from trunkline.training.batches import Rows, steps_per_epoch
from trunkline.training.calibrate import fit_corrections, uncorrected
from trunkline.training.checkpoint import Checkpoints, identity
from trunkline.training.conformal import fit_regions, refuse_too_few
from trunkline.training.declarations import Calibration, Monitor, Training
from trunkline.training.fading import fadings
from trunkline.training.fairness import FairnessPenalty
from trunkline.training.fit import Arm, Fitted, Report, choose_device, fit
from trunkline.training.forward import network_outputs
from trunkline.training.monitoring.watch import Watch, Watched
from trunkline.training.precision import slow_bfloat16
from trunkline.training.processes import ALONE, Processes
from trunkline.training.rebalanced import Plan, loss_states, network_states, row_weights
from trunkline.training.sampling import Sampling, Shuffle


def train_arm(
    arm: Arm,
    encoded: Encoded,
    calibration: Calibration,
    tune: Sequence[float],
    monitor: Monitor | None,
    seed: int,
    threads: int,
    target: Path,
    work: Path,
    report: Report,
    processes: Processes = ALONE,
) -> None:
    """Fit all seeds of an arm together and write its folder.

    Args:
        arm: Tasks and recipe.
        encoded: The encoded rows.
        calibration: How predictions are corrected, and which get an interval or a set.
        tune: Learning rates to try with the first seed; the best on the validation rows trains all. Empty: as declared.
        monitor: How often to look at the tasks, and with several at whether their gradients agree; None = never.
        seed: The project's seed.
        threads: CPU threads.
        target: The arm's folder, models/shared or models/alone/<task>.
        work: Folder for checkpoints.
        report: Takes lines of progress.
        processes: Those that train this arm together; the first one writes.
    """
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a GPU sums in a fixed order only with this
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch has no stub
    arrays = encoded.side("validation")
    train, validation = (as_rows(side, arm) for side in (encoded.side("train"), arrays))
    chooses, calibrates = halves(len(validation.features), seed)
    selection, held = validation.subset(chooses), validation.subset(calibrates)
    labels = {name: np.array(of_task[calibrates]) for name, of_task in arrays.labels.items()}
    refuse_too_few(arm.states, labels, calibration.coverage)
    train = train._replace(weights=row_weights(arm.states, arm.plans, encoded.side("train").labels))
    facts, slot = _facts(arm, encoded, monitor, seed, threads) | _in_number(processes), work / arm.name
    device, units = choose_device(arm.training.device), max(arm.trunk.widths)
    for line in slow_bfloat16(arm.training.precision, device, units):
        report(f"warning: {line}")

    def fitted_with(
        rate: float, count: int, place: str, meter: AffinityMeter | None = None, watch: Watch | None = None
    ) -> list[Fitted]:
        declared = arm.training.model_copy(update={"learning_rate": rate})
        checkpoints = Checkpoints(slot / place, identity({**facts, "learning_rate": rate, "seeds": count}))
        seeds = [stream_seed(seed, "training", number) for number in range(count)]
        declared_arm = replace(arm, training=declared)
        return fit(declared_arm, train, selection, seeds, checkpoints, report, meter, watch, processes)

    trials = []
    for place, rate in enumerate(tune):
        report(f"tries learning rate {rate:g}")
        trials.append({"learning_rate": rate, "composite": fitted_with(rate, 1, f"trial {place}")[0].composite})
    chosen = (
        max(trials, key=lambda trial: trial["composite"])["learning_rate"] if trials else arm.training.learning_rate
    )
    watched = monitor is not None and len(arm.states) > 1 and (monitor.every or monitor.lookahead)
    meter = AffinityMeter(list(arm.states), arm.training.seeds, monitor) if monitor and watched else None
    watch = Watch(_watched(arm), _expected(arm, monitor), selection, meter, report) if monitor else None
    fitted = fitted_with(chosen, arm.training.seeds, "seeds", meter, watch)
    if not processes.leads:
        return
    names = [f"{place}.safetensors" for place in range(len(fitted))]
    for name, of_seed in zip(names, fitted, strict=True):
        write_bytes(target / name, weight_bytes(of_seed.network))
    calibrated = [_calibrated(arm, of_seed.network, held, labels, calibration) for of_seed in fitted]
    write_json(
        target / "calibration.json",
        {
            "version": 1,
            "kind": calibration.kind,
            "rows": len(calibrates),
            **_by_part(calibrated),
            **uncorrected(arm.states),
        },
    )
    gates = [gate_report(each.network, validation.features, validation.codes, list(arm.states)) for each in fitted]
    found = {"learning_rate": chosen, "trials": trials, **({"gates": gates} if any(gates) else {})}
    found |= _of_plans(arm.plans) | ({"alarms": watch.alarms.raised} if watch else {}) | _in_number(processes)
    write_json(target / "run.json", _description(arm, threads, fitted, found))
    rows = [{"seed": place, **row} for place, of_seed in enumerate(fitted) for row in of_seed.history]
    write_text(target / "history.tsv", _tsv(rows))
    files = ["calibration.json", "run.json", "history.tsv"]
    if meter is not None:
        write_json(target / "affinity.json", meter.result())
        files.append("affinity.json")
    if watch is not None:
        steps = steps_per_epoch(len(train.features), arm.training.batch, arm.training.shuffle_rows)
        for name, table in watch.tables(steps).items():
            write_text(target / name, _tsv(table))
            files.append(name)
    seal(target, [*names, *files])
    shutil.rmtree(slot, ignore_errors=True)  # this training has ended


def shared_arm(
    tasks: Mapping[str, Task],
    encoded: Encoded,
    trunk: Trunk,
    balance: Balance,
    training: Training,
    sharing: Sharing | None = None,
    plans: Mapping[str, Plan] | None = None,
    sampling: Sampling | None = None,
) -> Arm:
    """Return the arm that learns all tasks together."""
    weights = {name: task.weight for name, task in tasks.items()}
    encoder = encoded.encoder
    sizes = encoder.vocabulary_sizes
    penalties = _penalties(training, encoded)
    heads = {name: state | _tap(tasks[name]) for name, state in encoded.heads.items()}
    states, plans = network_states(heads, plans or {}), dict(plans or {})
    form = fitted_sharing(encoder.layout, sizes, list(states.values()), trunk, sharing or HardSharing())
    return Arm(
        "shared", states, weights, encoder.layout, sizes, trunk, balance, training, penalties, form, plans,
        (sampling or Shuffle()).restricted(tasks), fadings(tasks),
    )  # fmt: skip


def _tap(task: Task) -> TaskState:
    """Return what the network must know of the layer that a task's head reads; nothing where it is the last."""
    return {} if task.tap_layer is None else {"tap_layer": task.tap_layer}


def alone_arm(
    name: str,
    encoded: Encoded,
    trunk: Trunk,
    training: Training,
    models: int = 1,
    plans: Mapping[str, Plan] | None = None,
    sampling: Sampling | None = None,
) -> Arm:
    """Return the arm that learns one task by itself; its weight says nothing there and is 1.

    Args:
        name: The task.
        encoded: The encoded rows, with this task's labels.
        trunk: The shared arm's trunk.
        training: The shared arm's recipe.
        models: Alone models that together get about the shared model's parameters; 1 = each gets as many.
        plans: The task's, where its rows do not all count the same.
        sampling: The shared arm's rule, by default `shuffle`; the steps are as many.
    """
    encoder = encoded.encoder
    if models > 1:
        trunk = narrowed(encoder.layout, encoder.vocabulary_sizes, trunk, models)
    states = network_states({name: encoded.states[name]}, plans or {})
    return Arm(
        f"alone/{name}",
        states,
        {name: 1.0},
        encoder.layout,
        encoder.vocabulary_sizes,
        trunk,
        EqualWeights(),
        training,
        _penalties(training, encoded),
        plans=dict(plans or {}),
        sampling=(sampling or Shuffle()).restricted(states),
    )


def penalised(training: Training, tasks: Collection[str]) -> list[str]:
    """Return the columns whose groups the training of `tasks` looks at, one per fairness penalty on them."""
    return [penalty.column for penalty in training.fairness if penalty.task in tasks]


def _penalties(training: Training, encoded: Encoded) -> list[tuple[FairnessPenalty, int]]:
    chosen = [penalty for penalty in training.fairness if penalty.task in encoded.states]
    return [(penalty, len(encoded.groups[penalty.column])) for penalty in chosen]


def as_rows(arrays: Arrays, arm: Arm) -> Rows:
    """Return a side's arrays with the targets of the arm's tasks."""
    labels = loss_labels(arm.states, arrays.labels)
    targets = [loss_targets(state, labels[name]) for name, state in arm.states.items()]
    seen = [torch.from_numpy(np.array(arrays.groups[penalty.column])) for penalty, _ in arm.penalties]
    groups = torch.stack(seen, dim=1) if seen else torch.zeros(len(arrays), 0, dtype=torch.int32)
    weights = torch.zeros(len(arrays), 0)
    return Rows(arrays.features, arrays.codes, torch.stack(targets, dim=1), groups, weights)


def weight_bytes(network: Network) -> bytes:
    """Return the weights as safetensors; one metadata key, because several come in no fixed order."""
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(network.state_dict().items())}
    return save(tensors, metadata={"trunkline": json.dumps({"version": 1})})


@dataclass(frozen=True)
class Trained:
    """An arm as its folder holds it: the main tasks' states, and network and calibration of every seed."""

    states: dict[str, TaskState]
    networks: list[Network]
    corrections: list[dict[str, Correction]]
    regions: list[dict[str, Region]]
    best_seed: int


def load_arm(folder: Path, encoder: Encoder) -> Trained:
    """Read a trained arm.

    Args:
        folder: models/shared or models/alone/<task>.
        encoder: The fitted columns that it was trained on.

    Raises:
        ArtifactError: A file is missing, was altered, or belongs to other columns.
    """
    from safetensors.torch import load

    check_seal(folder)
    run, calibration = read_json(folder / "run.json"), read_json(folder / "calibration.json")
    # Before there were forms of sharing, all was shared.
    states, trunk, sharing = run["tasks"], read_trunk(run["trunk"]), read_sharing(run.get("sharing", {"kind": "hard"}))
    networks = []
    for place in range(len(run["seeds"])):
        generator = torch_stream(0, "weights")
        network = Network(encoder.layout, encoder.vocabulary_sizes, list(states.values()), trunk, generator, sharing)
        try:
            network.load_state_dict(load((folder / f"{place}.safetensors").read_bytes()))
        except RuntimeError as fault:
            raise ArtifactError(
                f"{folder}: was trained on other columns than data/encoded holds; run `trunkline run`"
            ) from fault
        networks.append(network.eval())
    corrections = [{name: Correction.from_json(held) for name, held in of.items()} for of in calibration["corrections"]]
    fitted = calibration.get("regions", [{}] * len(networks))
    regions = [{name: Region.from_json(held) for name, held in of.items()} for of in fitted]
    if auxiliary := run.get("auxiliary"):
        networks = [each.without([name in auxiliary for name in states], list(states.values())) for each in networks]
        main = {name: state for name, state in states.items() if name not in auxiliary}
        states = placed(main, main)
    return Trained(states, networks, corrections, regions, int(run["best_seed"]))


def halves(rows: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Split the validation rows: one half chooses, the other calibrates. Returns the places of both, ascending."""
    order = numpy_stream(seed, "validation halves").permutation(rows)
    return np.sort(order[: rows // 2]), np.sort(order[rows // 2 :])


def _calibrated(
    arm: Arm, network: Network, rows: Rows, labels: dict[str, np.ndarray[Any, Any]], calibration: Calibration
) -> tuple[dict[str, Correction], dict[str, Region]]:
    outputs = network_outputs(network, rows.features, rows.codes).numpy()
    of_heads = head_labels(arm.states, labels)
    targets = [loss_targets(state, of_heads[name]).numpy() for name, state in arm.states.items()]
    corrections = fit_corrections(arm.states, outputs, np.stack(targets, axis=1), calibration.kind)
    return corrections, fit_regions(arm.states, corrections, outputs, labels, calibration.coverage)


def _by_part(calibrated: list[tuple[dict[str, Correction], dict[str, Region]]]) -> dict[str, list[Any]]:
    corrections, regions = (list(of_seeds) for of_seeds in zip(*calibrated, strict=True))
    return {"corrections": corrections, **({"regions": regions} if any(regions) else {})}


def _facts(arm: Arm, encoded: Encoded, monitor: Monitor | None, seed: int, threads: int) -> dict[str, object]:
    declared = (arm.trunk, arm.sharing, arm.balance, arm.training, arm.sampling, monitor)
    return {
        "arm": arm.name,
        "tasks": arm.states,
        "weights": arm.weights,
        "plans": arm.plans,
        "auxiliary": arm.fadings,
        "declared": [part.model_dump(mode="json") for part in declared if part],
        "rows": read_json(encoded.folder / "features" / "manifest.json"),
        "groups": encoded.group_seals,
        "labels": [read_json(encoded.folder / "labels" / f"{name}.json") for name in arm.states],
        "seed": seed,
        "threads": threads,
        "device": choose_device(arm.training.device).type,
    }


def _of_precision(training: Training) -> dict[str, object]:
    return {} if training.precision == "auto" else {"precision": training.precision}  # auto follows from the device


def _in_number(processes: Processes) -> dict[str, object]:
    """Return how many processes trained, where it was not one: other last bits, as with other threads."""
    return {"processes": processes.number} if processes.number > 1 else {}


def _run(fitted: Fitted) -> dict[str, object]:
    return {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "composite": fitted.composite,
        "start_losses": fitted.start_losses,
    }


def _watched(arm: Arm) -> Watched:
    recipe = arm.training
    return Watched(
        arm.states, arm.weights, arm.balance.kind, recipe.normalize, recipe.epochs, recipe.seeds,
        trained=loss_states(arm.states, arm.plans),
        begins={name: arm.sampling.begins(name) for name in arm.states},
        auxiliary=tuple(arm.fadings),
    )  # fmt: skip


def _expected(arm: Arm, monitor: Monitor) -> Monitor:
    """Return the monitor without the alarm of what the sampling rule does on purpose."""
    if not arm.sampling.leaves_out:
        return monitor
    return monitor.model_copy(update={"alarms": monitor.alarms.model_copy(update={"unlabelled": None})})


def _of_plans(plans: dict[str, Plan]) -> dict[str, object]:
    shown = ("rule", "classes", "class_weights", "prior_shift")
    held = {name: {part: plan[part] for part in shown} for name, plan in plans.items()}
    return {"rebalance": held} if held else {}


def _description(arm: Arm, threads: int, fitted: list[Fitted], tuned: dict[str, object]) -> dict[str, object]:
    best = max(range(len(fitted)), key=lambda place: fitted[place].composite)
    return {
        "version": 1,
        "arm": arm.name,
        "tasks": arm.states,
        "trunk": arm.trunk.model_dump(mode="json"),
        "sharing": arm.sharing.model_dump(mode="json"),
        **({"auxiliary": arm.fadings} if arm.fadings else {}),
        "threads": threads,
        "device": choose_device(arm.training.device).type,
        **_of_precision(arm.training),
        "torch": torch.__version__.split("+")[0],
        "seeds": [_run(of_seed) for of_seed in fitted],
        "best_seed": best,
        **tuned,
        **({"sampling": fitted[0].sampling} if fitted[0].sampling else {}),
    }


def _tsv(history: list[dict[str, Any]]) -> str:
    lines = ["\t".join(history[0])]
    lines += ["\t".join(map(_cell, row.values())) for row in history]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.8g}"
