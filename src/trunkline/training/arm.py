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

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from trunkline.balance import Balance, EqualWeights
from trunkline.chance import numpy_stream, stream_seed, torch_stream
from trunkline.columns.encoder import Encoder
from trunkline.data.encode import Arrays, Encoded
from trunkline.errors import ArtifactError
from trunkline.files import check_seal, read_json
from trunkline.nets.declarations import HardSharing, Sharing, Trunk, read_sharing, read_trunk
from trunkline.nets.gates import gate_report
from trunkline.nets.network import Network, fitted_sharing, narrowed
from trunkline.tasks import Task, TaskState
from trunkline.tasks._modules import Correction, Region, loss_targets
from trunkline.tasks.given import head_labels, loss_labels, placed
from trunkline.training.affinity import AffinityMeter
from trunkline.training.arm_files import arm_texts, in_number, write_arm
from trunkline.training.batches import Rows, steps_per_epoch
from trunkline.training.calibrate import fit_corrections, uncorrected
from trunkline.training.checkpoint import Checkpoints, identity
from trunkline.training.conformal import fit_regions, refuse_too_few
from trunkline.training.declarations import Calibration, DeclaredTraining, Monitor, Training
from trunkline.training.fading import fadings
from trunkline.training.fairness import FairnessPenalty
from trunkline.training.fit import Arm, Fitted, Report, choose_device, fit
from trunkline.training.forward import network_outputs
from trunkline.training.monitoring.watch import Watch, Watched
from trunkline.training.precision import slow_bfloat16
from trunkline.training.processes import ALONE, Processes
from trunkline.training.rebalanced import Plan, loss_states, network_states, row_weights
from trunkline.training.sampling import Sampling, Shuffle
from trunkline.training.tuning import tuned_recipe


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
    _compute_alike(threads)
    sides = _sides(arm, encoded, seed)
    refuse_too_few(arm.states, sides.labels, calibration.coverage)
    facts, slot = _facts(arm, encoded, monitor, seed, threads) | in_number(processes), work / arm.name
    for line in slow_bfloat16(arm.training.precision, choose_device(arm.training.device), max(arm.trunk.widths)):
        report(f"warning: {line}")

    def fitted_with(
        training: Training, count: int, place: str, meter: AffinityMeter | None = None, watch: Watch | None = None
    ) -> list[Fitted]:
        changed = {"learning_rate": training.learning_rate, "epochs": training.epochs, "seeds": count}
        checkpoints = Checkpoints(slot / place, identity({**facts, **changed}))
        seeds = [stream_seed(seed, "training", number) for number in range(count)]
        rows = sides.train, sides.selection
        return fit(replace(arm, training=training), *rows, seeds, checkpoints, report, meter, watch, processes)

    steps = steps_per_epoch(len(sides.train.features), arm.training.batch, arm.training.shuffle_rows)
    recipe, tuned = tuned_recipe(
        arm.training, tune, steps, lambda recipe, place: fitted_with(recipe, 1, place)[0].composite, report
    )
    arm = replace(arm, training=recipe)
    meter, watch = _watchers(arm, monitor, sides.selection, report)
    fitted = fitted_with(recipe, recipe.seeds, "seeds", meter, watch)
    if processes.leads:
        calibrated = _calibrations(arm, fitted, sides, calibration)
        found = tuned | _gates(arm, fitted, sides.validation)
        texts = arm_texts(arm, fitted, calibrated, found, threads, processes, meter, watch, steps)
        write_arm(target, [of_seed.network for of_seed in fitted], texts)
        shutil.rmtree(slot, ignore_errors=True)  # this training has ended


def _compute_alike(threads: int) -> None:
    """Let the same sums be taken in the same order each time."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a GPU sums in a fixed order only with this
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch has no stub


class _Sides(NamedTuple):
    """The rows of an arm.

    Attributes:
        train: They teach.
        validation: Those of the next two.
        selection: They choose the epoch.
        held: They calibrate.
        labels: Of the tasks, for `held`.
    """

    train: Rows
    validation: Rows
    selection: Rows
    held: Rows
    labels: dict[str, np.ndarray[Any, Any]]


def _sides(arm: Arm, encoded: Encoded, seed: int) -> _Sides:
    taught, arrays = encoded.side("train"), encoded.side("validation")
    train = as_rows(taught, arm)._replace(weights=row_weights(arm.states, arm.plans, taught.labels))
    validation = as_rows(arrays, arm)
    chooses, calibrates = halves(len(validation.features), seed)
    labels = {name: np.array(of_task[calibrates]) for name, of_task in arrays.labels.items()}
    return _Sides(train, validation, validation.subset(chooses), validation.subset(calibrates), labels)


def shared_arm(
    tasks: Mapping[str, Task],
    encoded: Encoded,
    trunk: Trunk,
    balance: Balance,
    training: DeclaredTraining,
    sharing: Sharing | None = None,
    plans: Mapping[str, Plan] | None = None,
    sampling: Sampling | None = None,
) -> Arm:
    """Return the arm that learns all tasks together."""
    weights = {name: task.weight for name, task in tasks.items()}
    encoder = encoded.encoder
    sizes = encoder.vocabulary_sizes
    sampling = sampling or Shuffle()
    penalties, recipe = _penalties(training, encoded), training.sized(len(encoded.side("train")), sampling.least_batch)
    heads = {name: state | _tap(tasks[name]) for name, state in encoded.heads.items()}
    states, plans = network_states(heads, plans or {}), dict(plans or {})
    form = fitted_sharing(encoder.layout, sizes, list(states.values()), trunk, sharing or HardSharing())
    return Arm(
        "shared", states, weights, encoder.layout, sizes, trunk, balance, recipe, penalties, form, plans,
        sampling.restricted(tasks), fadings(tasks),
    )  # fmt: skip


def _tap(task: Task) -> TaskState:
    """Return what the network must know of the layer that a task's head reads; nothing where it is the last."""
    return {} if task.tap_layer is None else {"tap_layer": task.tap_layer}


def alone_arm(
    name: str,
    encoded: Encoded,
    trunk: Trunk,
    training: DeclaredTraining,
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
    states, sampling = network_states({name: encoded.states[name]}, plans or {}), sampling or Shuffle()
    return Arm(
        f"alone/{name}",
        states,
        {name: 1.0},
        encoder.layout,
        encoder.vocabulary_sizes,
        trunk,
        EqualWeights(),
        training.sized(len(encoded.side("train")), sampling.least_batch),
        _penalties(training, encoded),
        plans=dict(plans or {}),
        sampling=sampling.restricted(states),
    )


def penalised(training: DeclaredTraining, tasks: Collection[str]) -> list[str]:
    """Return the columns whose groups the training of `tasks` looks at, one per fairness penalty on them."""
    return [penalty.column for penalty in training.fairness if penalty.task in tasks]


def _penalties(training: DeclaredTraining, encoded: Encoded) -> list[tuple[FairnessPenalty, int]]:
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


def _calibrations(arm: Arm, fitted: list[Fitted], sides: _Sides, calibration: Calibration) -> dict[str, Any]:
    """Return what calibration.json holds."""
    found = [_calibrated(arm, of_seed.network, sides.held, sides.labels, calibration) for of_seed in fitted]
    corrections, regions = (list(of_seeds) for of_seeds in zip(*found, strict=True))
    return {
        "version": 1,
        "kind": calibration.kind,
        "rows": len(sides.held.features),
        "corrections": corrections,
        **({"regions": regions} if any(regions) else {}),
        **uncorrected(arm.states),
    }


def _gates(arm: Arm, fitted: list[Fitted], rows: Rows) -> dict[str, Any]:
    """Return what the gates of each seed do, where there are some."""
    found = [gate_report(each.network, rows.features, rows.codes, list(arm.states)) for each in fitted]
    return {"gates": found} if any(found) else {}


def _calibrated(
    arm: Arm, network: Network, rows: Rows, labels: dict[str, np.ndarray[Any, Any]], calibration: Calibration
) -> tuple[dict[str, Correction], dict[str, Region]]:
    outputs = network_outputs(network, rows.features, rows.codes).numpy()
    of_heads = head_labels(arm.states, labels)
    targets = [loss_targets(state, of_heads[name]).numpy() for name, state in arm.states.items()]
    corrections = fit_corrections(arm.states, outputs, np.stack(targets, axis=1), calibration.kind)
    return corrections, fit_regions(arm.states, corrections, outputs, labels, calibration.coverage)


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


def _watchers(
    arm: Arm, monitor: Monitor | None, selection: Rows, report: Report
) -> tuple[AffinityMeter | None, Watch | None]:
    """Return who measures whether gradients agree, and who looks at each task, where there is one."""
    if monitor is None:
        return None, None
    measures = len(arm.states) > 1 and (monitor.every or monitor.lookahead)
    meter = AffinityMeter(list(arm.states), arm.training.seeds, monitor) if measures else None
    return meter, Watch(_watched(arm), _expected(arm, monitor), selection, meter, report)


def _watched(arm: Arm) -> Watched:
    recipe = arm.training
    return Watched(
        arm.states, arm.weights, arm.balance.kind, recipe.normalize, recipe.epochs, recipe.seeds,
        trained=loss_states(arm.states, arm.plans),
        begins={name: arm.sampling.begins(name) for name in arm.states},
        auxiliary=tuple(arm.fadings),
        keeps_best=recipe.keeps_best,
    )  # fmt: skip


def _expected(arm: Arm, monitor: Monitor) -> Monitor:
    """Return the monitor without the alarm of what the sampling rule does on purpose."""
    if not arm.sampling.leaves_out:
        return monitor
    return monitor.model_copy(update={"alarms": monitor.alarms.model_copy(update={"unlabelled": None})})
