"""What was seen of every task while the shared model trained, over all seeds: for the report and for advice."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

CURVES = ("loss", "share", "norm", "cosine")

Row = Mapping[str, Any]


def analyse_training(run: Mapping[str, Any], monitor: str, gate_load: float) -> dict[str, Any]:
    """Return the section "training" of reports/analysis.json.

    Args:
        run: Content of models/shared/run.json.
        monitor: Text of models/shared/monitor.tsv; empty where nobody looked.
        gate_load: Mean share of one expert beyond which a gate no longer chooses.

    Returns:
        `alarms`, as they were raised; `tasks`, see `_task`; `gates`, per task a list of levels, see `_gate`; where the
        number of epochs was left to the data, `length`: `epochs`, the most that a seed `trained`, rows of a step
        (`batch`), and the lengths `tried`.
    """
    rows = list(csv.DictReader(monitor.splitlines(), delimiter="\t"))
    totals: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        weight = abs(float(row["weight"]))
        totals[row["seed"], row["step"]] += weight if math.isfinite(weight) else 0.0
    tasks = {name: _task([row for row in rows if row["task"] == name], totals) for name in run["tasks"]}
    gates = run.get("gates") or []
    return {
        "alarms": run.get("alarms", []),
        "tasks": {name: held for name, held in tasks.items() if held},
        "gates": {name: found for name in run["tasks"] if (found := _gates(gates, name, gate_load))},
        **({"length": _length(run)} if "lengths" in run else {}),
    }


def _length(run: Mapping[str, Any]) -> dict[str, Any]:
    tried = [trial["epochs"] for trial in run["lengths"]]
    trained = max(seed["epochs"] for seed in run["seeds"])
    return {"epochs": run["epochs"], "trained": trained, "batch": run["batch"], "tried": tried}


def _task(rows: Sequence[Row], totals: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """Return curves by epoch, mean, lowest and highest over seeds, and means over the second half of the training.

    `share` is a weight over the sum of all tasks' weights. A value that no seed has is None.
    """
    by_epoch: defaultdict[float, list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        total = totals[row["seed"], row["step"]]
        found = {name: float(row[name]) for name in ("loss", "norm", "cosine", "labelled")}
        by_epoch[float(row["epoch"])].append(found | {"share": float(row["weight"]) / total if total else math.nan})
    if not by_epoch:
        return {}
    curves = {name: [_spread([seed[name] for seed in seeds]) for seeds in by_epoch.values()] for name in CURVES}
    half = max(by_epoch) / 2
    late = [seed for epoch, seeds in by_epoch.items() if epoch > half for seed in seeds]
    means = {name: _mean([seed[name] for seed in late]) for name in (*CURVES, "labelled")}
    return {"epochs": list(by_epoch), "curves": curves, "late": means}


def _spread(values: Sequence[float]) -> list[float] | None:
    known = [value for value in values if math.isfinite(value)]
    return [math.fsum(known) / len(known), min(known), max(known)] if known else None


def _mean(values: Sequence[float]) -> float | None:
    spread = _spread(values)
    return spread[0] if spread else None


def _gates(seeds: Sequence[Sequence[Row]], task: str, gate_load: float) -> list[dict[str, Any]]:
    of_task = [[gate for gate in seed if gate["task"] == task] for seed in seeds]
    return [_gate(levels, gate_load) for levels in zip(*of_task, strict=True)]


def _gate(levels: Sequence[Row], gate_load: float) -> dict[str, Any]:
    """Return a gate's mean loads over seeds by expert, its busiest expert and in how many seeds it has collapsed."""
    experts = list(levels[0]["load"])
    loads = {expert: math.fsum(gate["load"][expert] for gate in levels) / len(levels) for expert in experts}
    peaks = [max(gate["load"].values()) for gate in levels]
    collapsed = sum(peak > gate_load for peak in peaks) if len(experts) > 1 else 0
    busiest = max(loads, key=lambda expert: loads[expert])
    return {
        "level": levels[0]["level"],
        "load": loads,
        "busiest": busiest,
        "collapsed": collapsed,
        "seeds": len(levels),
    }
