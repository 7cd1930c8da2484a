"""What a task's plan, data/rebalance/<task>.json, does to its training.

The network's outputs always are those of the rows as they are. It is the loss that looks at them elsewhere: under
class weights it adds the prior shift before it compares them with the labels, so that the head learns what lies below
it. Folding the shift into a trained head would come to the same, but so the validation losses, penalties, calibration,
sets and the exported graph read one kind of output, whatever the rule. Focal loss alone bends the logits, too; what
reads `Network.combined` gets them straightened (tasks/_focal.py), and the loss reads them as the head gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.chance import torch_stream
from trunkline.files import read_json
from trunkline.tasks.base import TaskState

Plan = Mapping[str, Any]
"""What `trunkline.data.rebalance.plan` returned for a task."""


def read_plans(folder: Path, tasks: Iterable[str]) -> dict[str, Plan]:
    """Read the plans of the tasks whose rows do not all count the same.

    Args:
        folder: data/rebalance.
        tasks: The tasks of the arm.

    Raises:
        ArtifactError: A plan is missing.
    """
    plans = {name: read_json(folder / f"{name}.json") for name in tasks}
    return {name: plan for name, plan in plans.items() if "rule" in plan}


def network_states(states: Mapping[str, TaskState], plans: Mapping[str, Plan]) -> dict[str, TaskState]:
    """Return the states with what the network must know: where a head starts, and what is added to its outputs."""
    return {name: {**state, **_of_head(state, plans.get(name, {}))} for name, state in states.items()}


def _of_head(state: TaskState, plan: Plan) -> dict[str, Any]:
    if "offset" in plan:
        offset = _of_outputs(state, plan["offset"])
        return {"offset": offset, "start": [bias - added for bias, added in zip(state["bias"], offset, strict=True)]}
    if "focus" in plan:
        weights = {word: float(np.log(weight)) for word, weight in plan["class_weights"].items()}
        shift = _of_outputs(state, plan["prior_shift"])
        return {"focal": {"gamma": plan["focus"], "shift": shift, "weights": _of_outputs(state, weights)}}
    return {"start": [plan["start"]]} if "start" in plan else {}


def loss_states(states: Mapping[str, TaskState], plans: Mapping[str, Plan]) -> list[TaskState]:
    """Return the states as the training's losses read them: shifted, and normalised by the rule's own best constant."""
    return [{**state, **_of_loss(state, plans.get(name, {}))} for name, state in states.items()]


def _of_loss(state: TaskState, plan: Plan) -> dict[str, Any]:
    if "constant_loss" not in plan:
        return {}
    told = {name: plan[name] for name in ("constant_loss", "focus") if name in plan}
    return told | ({"shift": _of_outputs(state, plan["prior_shift"])} if plan["prior_shift"] else {})


def _of_outputs(state: TaskState, by_class: Mapping[str, float]) -> list[float]:
    """Return one number per output: per class, or for a binary task that of yes over no."""
    if state["kind"] == "binary":
        return [by_class["true"] - by_class["false"]]
    return [by_class[word] for word in state["classes"]]


def row_weights(
    states: Mapping[str, TaskState], plans: Mapping[str, Plan], labels: Mapping[str, np.ndarray[Any, Any]]
) -> Tensor:
    """Return what each row counts in each task's loss, float32 [rows, tasks]; [rows, 0] where all count the same.

    Args:
        states: The tasks' states by name.
        plans: Those of tasks whose rows do not all count the same.
        labels: float32 [rows] per task, as the encoded arrays hold them.
    """
    of_tasks = [_of_rows(state, plans.get(name, {}), labels[name]) for name, state in states.items()]
    rows = len(labels[next(iter(states))])
    if all(weights is None for weights in of_tasks):
        return torch.zeros(rows, 0)
    return torch.stack([torch.ones(rows) if weights is None else weights for weights in of_tasks], dim=1)


def _of_rows(state: TaskState, plan: Plan, labels: np.ndarray[Any, Any]) -> Tensor | None:
    known = ~np.isnan(labels)
    if "density" in plan:
        weights = np.interp(labels, plan["density"]["labels"], plan["density"]["weights"])
    elif len(set(plan.get("class_weights", {}).values())) > 1:
        by_class = [plan["class_weights"][word] for word in state.get("classes", ["false", "true"])]
        weights = np.array(by_class)[np.where(known, labels, 0).astype(np.int64)]
    else:
        return None
    return torch.from_numpy(np.where(known, weights, 1.0).astype(np.float32))


def row_counts(targets: Tensor, weights: Tensor) -> Tensor:
    """Return how many labelled rows each task has, float32 [tasks], each as what it counts.

    Args:
        targets: float32 [rows, tasks], NaN = no label.
        weights: float32 [rows, tasks], or [rows, 0] where all rows count 1.
    """
    known = ~torch.isnan(targets)
    return (known * weights if weights.shape[-1] else known).sum(dim=-2).to(torch.float32)


class RowDraws:
    """Leaves rows out of a task's loss, or repeats them there, anew in each epoch.

    A weight of n + r units becomes n + 1 units with chance r, else n: the same in the mean. The draw depends on seed,
    epoch and task alone, so that the same rows are drawn in the shared model and alone.

    Args:
        states: The tasks' states by name.
        plans: Those of tasks whose rows do not all count the same.
        seeds: One per member.
    """

    def __init__(self, states: Mapping[str, TaskState], plans: Mapping[str, Plan], seeds: Sequence[int]) -> None:
        names = list(states)
        self.units = {name: plan["unit"] for name, plan in plans.items() if "unit" in plan}
        self.columns = {name: names.index(name) for name in self.units}
        self.seeds = seeds

    def of_epoch(self, epoch: int) -> Callable[[Tensor], Tensor]:
        """Return what turns the weights of an epoch's batches, [members, rows, tasks], into drawn ones, in order."""
        streams = {name: [torch_stream(seed, "rebalance", name, epoch) for seed in self.seeds] for name in self.units}

        def draw(weights: Tensor) -> Tensor:
            for name, unit in self.units.items():
                times = weights[..., self.columns[name]] / unit
                chances = [torch.rand(times.shape[1:], generator=stream) for stream in streams[name]]
                more = torch.stack(chances).to(times.device) < times - times.floor()
                weights[..., self.columns[name]] = (times.floor() + more) * unit
            return weights

        return draw
