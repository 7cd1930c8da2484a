"""What the report shows of the shared model's training: alarms, and each task's small charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.evaluation import wording
from trunkline.evaluation.curves import mean_curve, read_curve
from trunkline.evaluation.training_charts import MOST_EXPERTS, band_chart, gate_map

Json = Mapping[str, Any]

MOST_TASKS = 20  # whose charts are drawn, those with an alarm first
TITLES = {
    "loss": ("Loss", "training, and validation dashed"),
    "share": ("Weight", "share of all tasks' weights"),
    "norm": ("Length of the gradient", "as the shared layers feel it"),
    "cosine": ("Cosine", "mean with the other tasks"),
}


def training_view(training: Json | None, history: str) -> dict[str, Any] | None:
    """Return what the page shows of the training; None where nothing was recorded.

    Args:
        training: Section "training" of reports/analysis.json.
        history: Text of the shared arm's history.tsv.
    """
    if not training:
        return None
    alarms = training["alarms"]
    troubled = {alarm["task"] for alarm in alarms}
    names = sorted({**training["tasks"], **training["gates"]}, key=lambda name: name not in troubled)
    return {
        "alarms": [{**alarm, "where": _where(alarm)} for alarm in alarms],
        "tasks": [_task(name, training, history, name in troubled) for name in names[:MOST_TASKS]],
        "more": len(names[MOST_TASKS:]),
        "length": _length_said(training.get("length")),
    }


def _length_said(length: Json | None) -> str:
    """Say what was chosen where params.yaml leaves the number of epochs to the data; else nothing."""
    if not length:
        return ""
    tried = f", chosen on validation rows among {', '.join(map(str, length['tried']))}" if length["tried"] else ""
    early = f", ended early after {length['trained']}" if length["trained"] < length["epochs"] else ""
    return f"Epochs, which the data decided: {length['epochs']}{tried}{early}; rows of a step: {length['batch']}."


def _where(alarm: Json) -> str:
    seeds = alarm["seeds"]
    said = f"in the training with seed {seeds[0]}" if len(seeds) == 1 else f"in {len(seeds)} of the trainings"
    return f"first after step {wording.count(alarm['step'])}, {said}"


def _task(name: str, training: Json, history: str, troubled: bool) -> dict[str, Any]:
    seen, levels = training["tasks"].get(name), training["gates"].get(name)
    return {
        "name": name,
        "troubled": troubled,
        "said": _said(seen["late"]) if seen else "",
        "charts": _charts(name, seen, history) if seen else [],
        "gates": gate_map(levels, f"{name}: what its gates take of each expert") if levels else None,
        "gates_said": _gates_said(levels) if levels else "",
    }


def _charts(name: str, seen: Json, history: str) -> list[dict[str, Any]]:
    validation = mean_curve(read_curve(history, f"validation.{name}"))
    known = {key: curve for key, curve in seen["curves"].items() if any(spread is not None for spread in curve)}
    return [
        {"title": title, "said": said, "chart": band_chart(seen["epochs"], known[key], validation * (key == "loss"))}
        for key, (title, said) in TITLES.items()
        if key in known
    ]


def _said(late: Json) -> str:
    parts = [f"loss {wording.score(late['loss'])}", f"weight {wording.share(late['share'])}"]
    parts += [f"gradient {wording.small(late['norm'])}"] if wording.known(late["norm"]) else []
    parts += [f"cosine {wording.signed(late['cosine'])}"] if wording.known(late["cosine"]) else []
    return f"{', '.join(parts)} on average over the second half"


def _gates_said(levels: list[Json]) -> str:
    collapsed = [gate for gate in levels if gate["collapsed"]]
    said = [f"level {gate['level']}: collapsed in {gate['collapsed']} of {gate['seeds']}" for gate in collapsed]
    hidden = len(levels[0]["load"]) - MOST_EXPERTS
    return "; ".join([*said, *([f"{hidden} more experts are not shown"] if hidden > 0 else [])])
