"""What each alarm looks for. Every rule compares plain numbers of one kind with its bound and says whom it finds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from trunkline.training.affinity import Series
from trunkline.training.monitoring.alarms import Seen
from trunkline.training.monitoring.record import QUANTITIES

CONFLICT_T = -3.0  # of a mean cosine, beyond which it is no chance
FEWEST_LOOKS = 16  # behind that t
EVENING = ("log", "uncertainty")  # methods that even out what the tasks' losses ask for
BUDGET = 0.3  # of the epochs, after which a task must have skill

LOSS, _, NORM, _, WEIGHT, _ = range(len(QUANTITIES))


def drowned(tasks: Sequence[str], recent: Tensor, bound: float, method: str, normalize: str) -> Iterator[Seen]:
    """Find tasks behind the others whose gradient is far shorter than another's, whatever the balance does about it.

    Args:
        tasks: Names.
        recent: Mean of the last looks, float64 [quantities, seeds, tasks].
        bound: Times that another's may be longer, both with and without the weights that the balance gives.
        method: balance.kind.
        normalize: training.normalize.
    """
    norms = recent[NORM]
    ratios = torch.stack([norms, norms * recent[WEIGHT].abs()]).nan_to_num(nan=-1.0)
    ratios = ratios.unsqueeze(-2) / ratios.unsqueeze(-1).clamp(min=1e-12)  # [2, seeds, task, other]
    times = torch.where(norms.isnan().unsqueeze(-1), 0.0, ratios.amin(dim=0))
    for seed, task in _places(_behind(recent) & (times.amax(dim=-1) > bound)):
        loudest = int(times[seed, task].argmax())
        balanced = f"raise tasks.{tasks[task]}.weight" if method in EVENING else "set balance.kind: log or uncertainty"
        yield Seen(
            "norm_ratio",
            tasks[task],
            seed,
            f"the gradient of '{tasks[loudest]}' at the shared layers is {float(times[seed, task, loudest]):.0f} times "
            f"as long as its own",
            "set training.normalize: constant" if normalize == "off" else balanced,
        )


def starved(tasks: Sequence[str], recent: Tensor, declared: Tensor, bound: float, method: str) -> Iterator[Seen]:
    """Find tasks behind the others which the balance leaves next to nothing of their declared say.

    Args:
        tasks: Names.
        recent: Mean of the last looks, float64 [quantities, seeds, tasks].
        declared: The tasks' weights [tasks].
        bound: Least share of the declared say.
        method: balance.kind.
    """
    weights = recent[WEIGHT].abs()
    share = weights / weights.nansum(dim=1, keepdim=True) / (declared / declared.sum())
    for seed, task in _places(_behind(recent) & (share < bound)):
        yield Seen(
            "weight",
            tasks[task],
            seed,
            f"balance.kind: {method} leaves it {float(share[seed, task]):.1%} of its declared say, at a loss of "
            f"{float(recent[LOSS][seed, task]):.2f}",
            f"set balance.kind: {'equal' if method == 'log' else 'log'}",
        )


def unlabelled(tasks: Sequence[str], batches: Tensor, bound: int) -> Iterator[Seen]:
    """Find tasks without a labelled row in many batches in a row.

    Args:
        tasks: Names.
        batches: That many without one, up to now [seeds, tasks].
        bound: From which on it is too many.
    """
    for seed, task in _places(batches >= bound):
        yield Seen(
            "unlabelled",
            tasks[task],
            seed,
            f"no row of the last {int(batches[seed, task])} batches had a label of it",
            "raise training.batch, or give it more labelled rows",
        )


def conflicts(tasks: Sequence[str], cosines: Series, bound: float) -> Iterator[Seen]:
    """Find tasks whose gradients oppose another's on average and beyond chance.

    Args:
        tasks: Names.
        cosines: Measured so far [seeds, tasks, tasks].
        bound: Mean cosine below which two tasks are at odds.
    """
    mean = cosines.mean()
    t = mean / cosines.standard_error()
    for seed, of_seed in enumerate((mean < bound) & (t < CONFLICT_T) & (cosines.count() >= FEWEST_LOOKS)):
        for task, other in _places(of_seed.triu(diagonal=1)):
            yield Seen(
                "conflict",
                tasks[task],
                seed,
                f"its gradients oppose those of '{tasks[other]}' (mean cosine {float(mean[seed, task, other]):.2f}, "
                f"t {float(t[seed, task, other]):.1f})",
                "widen the trunk, try sharing.kind: cgc, or see with `trunkline groups` whether they do better apart",
            )


def not_learning(tasks: Sequence[str], skill: Tensor, bound: float, epoch: int, epochs: int) -> Iterator[Seen]:
    """Find tasks no better than a constant prediction, late enough to be worth a word and before the end.

    Args:
        tasks: Names.
        skill: On the validation rows, 1 - loss / loss of a constant prediction there, float64 [seeds, tasks].
        bound: Skill that they must pass.
        epoch: How many epochs were done.
        epochs: How many there will be.
    """
    if math.ceil(BUDGET * epochs) <= epoch < epochs:
        yield from _no_better(tasks, skill, bound, "not_learning", f"after epoch {epoch} it has")


def without_skill(tasks: Sequence[str], skill: Tensor, bound: float) -> Iterator[Seen]:
    """Find tasks for which the weights that are kept do no better than a constant prediction.

    Args:
        tasks: Names.
        skill: On the validation rows, of the weights kept, float64 [seeds, tasks].
        bound: Skill that they must pass.
    """
    yield from _no_better(tasks, skill, bound, "no_skill", "the weights that are kept have")


def _no_better(tasks: Sequence[str], skill: Tensor, bound: float, kind: str, begin: str) -> Iterator[Seen]:
    for seed, task in _places(skill <= bound):
        yield Seen(
            kind,
            tasks[task],
            seed,
            f"{begin} a skill of {float(skill[seed, task]):.3f} on the validation rows, where a constant prediction "
            f"has 0",
            "look at its labels and inputs in reports/validation.html, or take it out",
        )


def rising(tasks: Sequence[str], curves: Tensor, seed: int, bound: float, keeps_best: bool) -> Iterator[Seen]:
    """Find tasks whose loss on the validation rows rose twice in a row, to well above its lowest.

    Args:
        tasks: Names.
        curves: Of one seed, float64 [epochs, tasks].
        seed: Whose.
        bound: Share of the lowest that it may stand above it.
        keeps_best: Whether the best epoch is kept already.
    """
    if len(curves) < 3:
        return
    last, lowest = curves[-1], curves.amin(dim=0)
    climbs = (curves[-1] > curves[-2]) & (curves[-2] > curves[-3]) & (last > (1 + bound) * lowest)
    for (task,) in climbs.nonzero().tolist():
        best = int(curves[:, task].argmin()) + 1
        yield Seen(
            "rising",
            tasks[task],
            seed,
            f"its loss on the validation rows rose to {float(last[task]):.3f} from {float(lowest[task]):.3f} after "
            f"epoch {best}",
            "raise trunk.dropout" + ("" if keeps_best else ", or keep the best epoch with training.keep: best"),
        )


def collapsed(gates: Sequence[Mapping[str, object]], seed: int, bound: float) -> Iterator[Seen]:
    """Find gates that give one expert nearly everything.

    Args:
        gates: What `nets.gates.gate_report` returned.
        seed: Whose.
        bound: Mean share from which on a gate no longer chooses.
    """
    for gate in gates:
        load = gate["load"]
        assert isinstance(load, dict)
        name = max(load, key=lambda expert: float(load[expert]))
        if len(load) > 1 and load[name] > bound:
            yield Seen(
                "gate_collapse",
                str(gate["task"]),
                seed,
                f"its gate at level {gate['level']} gives expert '{name}' {load[name]:.0%} on average, so the other "
                f"experts hardly count",
                "raise sharing.gate_dropout or declare fewer experts",
            )


def _behind(recent: Tensor) -> Tensor:
    """Return which tasks have a loss above the mean of all: one that is ahead may rest [seeds, tasks]."""
    loss = recent[LOSS]
    ahead = loss < torch.nanmean(loss, dim=1, keepdim=True)
    return ~ahead & ~loss.isnan()


def _places(found: Tensor) -> list[list[int]]:
    places: list[list[int]] = found.nonzero().tolist()
    return places
