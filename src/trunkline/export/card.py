"""The model's card: what the file takes and gives, for programs (card.json) and for people (MODEL_CARD.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from trunkline.columns import KINDS
from trunkline.columns.encoder import Encoder
from trunkline.columns.timestamp import MISSING_TIME
from trunkline.data.declarations import Data
from trunkline.export.declarations import Export
from trunkline.tasks import KINDS as TASK_KINDS
from trunkline.tasks import TaskState, kind_of
from trunkline.tasks._modules import Region, derived_parts, region_parts
from trunkline.tasks.base import Part
from trunkline.tasks.given import is_joint
from trunkline.tasks.roles import auxiliary_words

FORMAT = 1
MISSING: dict[str, Any] = {"numeric": "NaN", "categorical": "", "timestamp": MISSING_TIME}


def describe(
    export: Export,
    encoder: Encoder,
    states: dict[str, TaskState],
    regions: Mapping[str, Region],
    data: Data,
    evaluation: dict[str, Any],
) -> dict[str, Any]:
    """Return what is known of the model before its bytes exist.

    Args:
        export: The declared export.
        encoder: The fitted columns.
        states: The tasks' states by name.
        regions: What makes interval or set of the tasks that have one.
        data: The declared data: its key, and its words for a missing value in CSV files.
        evaluation: reports/evaluation.json.
    """
    tasks = {}
    for name, scored in evaluation["tasks"].items():
        parts = ("kind", "labelled", "primary", "higher_is_better", "exported", "alone", "transfer")
        tasks[name] = {part: scored[part] for part in parts}
    return {
        "format": FORMAT,
        "name": export.name,
        "description": export.description,
        "opset": 20,
        "inputs": [
            {"name": name, "kind": kind, "type": KINDS[kind].raw_type, "missing": MISSING[kind]}
            for name, kind in encoder.inputs
        ],
        "outputs": outputs(states, regions),
        "key": data.key,
        "null_values": data.null_values,
        "tasks": tasks,
        **({"auxiliary": evaluation["auxiliary"]} if "auxiliary" in evaluation else {}),
        "composite": evaluation["composite"],
        "gates": evaluation["gates"],
        "deployable": evaluation["deployable"],
    }


def outputs(states: dict[str, TaskState], regions: Mapping[str, Region]) -> list[dict[str, Any]]:
    """Return a description of every output of the graph, in its order."""
    described = [_part(name, state, kind_of(state).parts(state)[0]) for name, state in states.items()]
    described += [_part(name, state, part) for name, state in states.items() for part in derived_parts(state)]
    for name, state in states.items():
        if rule := kind_of(state).label_rule(state):
            described.append(
                {"name": f"{name}.label", "task": name, "kind": state["kind"], "part": "label", "classes": rule.words,
                 "threshold": rule.threshold}
            )  # fmt: skip
    for name, state in states.items():
        if is_joint(state):
            described.append({"name": f"{name}.conditional", "task": name, "kind": "binary", "part": "conditional"})
            described[-1] |= _given(state)
    return described + [part for name, region in _ordered(states, regions) for part in _region(name, region, states)]


def _given(state: TaskState) -> dict[str, Any]:
    """Return what a task is given, as an output's description holds it; nothing for most."""
    held = state.get("given")
    return {"given": {held["parent"]: held["value"]}} if held else {}


def _part(name: str, state: TaskState, part: Part) -> dict[str, Any]:
    described = {"name": f"{name}.{part.name}", "task": name, "kind": state["kind"], "part": part.name, **part.facts}
    return described | _given(state)


def _ordered(states: dict[str, TaskState], regions: Mapping[str, Region]) -> list[tuple[str, Region]]:
    return [(name, regions[name]) for name in states if name in regions]


def _region(name: str, region: Region, states: dict[str, TaskState]) -> list[dict[str, Any]]:
    state = states[name]
    words = kind_of(state).words(state)
    facts = {"unit": state["unit"], "spread": state["spread"]} if words is None else {"classes": words}
    return [
        {"name": f"{name}.{part}", "task": name, "kind": state["kind"], "part": part, "coverage": region.coverage}
        | facts
        for part in region_parts(state)
    ]


def golden(session: Any, feeds: dict[str, np.ndarray[Any, Any]], rows: int) -> dict[str, Any]:
    """Return a few rows with their outputs: real ones, and last one where everything is missing."""
    chosen = {name: value[: rows - 1] for name, value in feeds.items()}
    blank: dict[str, Any] = {"float64": np.nan, "object": "", "int64": MISSING_TIME}
    sample = {
        name: np.concatenate([value, np.array([[blank[str(value.dtype)]]], dtype=value.dtype)])
        for name, value in chosen.items()
    }
    names = [output.name for output in session.get_outputs()]
    return {
        "inputs": {name: [_plain(cell) for cell in value[:, 0].tolist()] for name, value in sample.items()},
        "outputs": {name: value.tolist() for name, value in zip(names, session.run(names, sample), strict=True)},
    }


def _plain(cell: Any) -> Any:
    missing = cell == MISSING_TIME or (isinstance(cell, float) and not np.isfinite(cell))
    return None if missing else cell


def digest(content: bytes) -> str:
    """Return the sha256 of the model's bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def markdown(card: dict[str, Any], license_name: str | None) -> str:
    """Return MODEL_CARD.md, with the front matter that model hubs read."""
    lines = [
        "---",
        f"license: {license_name or 'unknown'}",
        "library_name: onnx",
        "tags: [multi-task, tabular]",
        "---",
        "",
    ]
    lines += [f"# {card['name']}", "", card["description"] or "A shared model for several targets.", ""]
    lines += [f"sha256 of model.onnx: `{card['sha256']}`", "", "## What it takes", ""]
    lines += [
        "One tensor `[rows, 1]` per column, named as the column.",
        "",
        "| column | type | missing |",
        "|---|---|---|",
    ]
    lines += [f"| `{column['name']}` | {column['type']} | `{column['missing']!r}` |" for column in card["inputs"]]
    lines += [
        "",
        "Words never seen in training are allowed.",
        "",
        "## What it gives",
        "",
        "| output | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{output['name']}` | {_meaning(output)} |" for output in card["outputs"]]
    lines += ["", "## How good it is", "", "On the test rows, as this file scores them.", ""]
    lines += [
        "| task | labelled test rows | metric | this file | trained alone | verdict on sharing |",
        "|---|---|---|---|---|---|",
    ]
    for name, task in card["tasks"].items():
        metric = task["primary"]
        here, alone = task["exported"][metric], task["alone"][metric]
        verdict, rows = task["transfer"]["verdict"], task["labelled"]["test"]
        lines.append(f"| {name} | {rows:,} | {metric} | {_score(here)} | {_score(alone)} | {verdict} |")
    if helpers := auxiliary_words(card.get("auxiliary", {})):
        lines += ["", "Trained along, neither judged nor exported:", "", *(f"- {words}" for words in helpers)]
    lines += _coverage_lines(card["tasks"])
    agreed = card["parity"]
    lines += ["", f"Agrees with torch on {agreed['real_rows']:,} real and {agreed['boundary_rows']:,} boundary rows."]
    return "\n".join(lines) + "\n"


def _coverage_lines(tasks: dict[str, Any]) -> list[str]:
    """Return a table of how often intervals and sets held the label; nothing where no task has one."""
    measured = {name: task["coverage"] for name, task in tasks.items() if "coverage" in task}
    if not measured:
        return []
    lines = ["", "How often an interval or a set held the label there:", ""]
    lines += ["| task | labelled test rows | asked | measured | 95 % interval | mean width or size |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, found in measured.items():
        low, high = found["interval"]
        wide = f"{found['mean_width']:.4g} wide" if "mean_width" in found else f"{found['mean_size']:.2f} classes"
        shares = f"{_percent(found['asked'])} | {100 * found['coverage']:.1f} % | {100 * low:.1f} to {100 * high:.1f} %"
        lines.append(f"| {name} | {found['rows']:,} | {shares} | {wide} |")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _meaning(output: dict[str, Any]) -> str:
    task, given = output["task"], output.get("given", {})
    where = "".join(f" where {parent} is {_word(value)}" for parent, value in given.items())
    if output["part"] == "conditional":
        return f"calibrated probability that {task} is true{where}"
    if given and output["kind"] == "binary" and output["part"] == "probability":
        also = "".join(f"{parent} is {_word(value)} and " for parent, value in given.items())
        return f"calibrated probability that {also}{task} is true"
    said = TASK_KINDS[output["kind"]].meaning({**output, "task": f"{task}{where}"})
    return said if where in said else said + where


def _word(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value
