"""Whole runs side by side as text: how each ended, then every task's score of the shared model under each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from trunkline.cli.columns import aligned
from trunkline.cli.verdict import COLUMNS, NOTHING
from trunkline.files import write_bytes

if TYPE_CHECKING:
    from trunkline.pipeline.clones import Ended

RESULTS = Path(".trunkline/recipes")
EVALUATION = "reports/evaluation.json"
HEAD = ("recipe", "ended", "seconds", "ran", "cached", "validation", "mean gain", "deployable", "")
BESIDE = 4  # recipes that a table of tasks has beside each other


def put_down(root: Path, ended: Ended) -> None:
    """Write what a run handed back to .trunkline/recipes/NAME/, as it lies in a project; nothing where it failed."""
    for name, content in ended.files.items():
        write_bytes(root / RESULTS / ended.name / name, content)


def found_by(ended: Ended) -> dict[str, Any] | None:
    """Return what a run's `evaluate` found, None where it has none."""
    content = ended.files.get(EVALUATION)
    return dict(json.loads(content)) if content else None


def as_json(runs: Sequence[Ended]) -> dict[str, Any]:
    """Return everything but the files."""
    facts = ("name", "code", "said", "seconds", "ran", "cached", "composite", "clone")
    found = [{**{fact: getattr(each, fact) for fact in facts}, "evaluation": found_by(each)} for each in runs]
    return {"recipes": found}


def lines(runs: Sequence[Ended]) -> Iterator[str]:
    """Yield the tables, what went wrong, and where to go on."""
    yield from aligned([HEAD, *map(_row, runs)], words=2)
    well = [each for each in runs if found_by(each)]
    for start in range(0, len(well), BESIDE):
        yield ""
        yield from _tasks(well[start : start + BESIDE])
    for each in runs:
        if each.code:
            yield ""
            yield f"{each.name}: {each.said}"
            yield from [f"  its clone: {each.clone}"] if each.clone else []
    yield from _ways_on(well)


def _row(ended: Ended) -> tuple[str, ...]:
    evaluation = found_by(ended) or {}
    gain = (evaluation.get("composite") or {}).get("delta_m_percent")
    deployable = ("yes" if evaluation.get("deployable") else "no") if evaluation else NOTHING
    how = f"failed ({ended.code})" if ended.code else "well"
    validation = NOTHING if ended.composite is None else f"{ended.composite:.4f}"
    mean = NOTHING if gain is None else f"{gain:+.2f} %"
    return ended.name, how, f"{ended.seconds:.1f}", str(ended.ran), str(ended.cached), validation, mean, deployable, ""


def _tasks(runs: Sequence[Ended]) -> list[str]:
    found = [found_by(each) or {} for each in runs]
    names = list(dict.fromkeys(name for each in found for name in each["tasks"]))
    rows = [_scores(name, [each["tasks"].get(name) for each in found]) for name in names]
    return aligned([("task", "metric", *(each.name for each in runs), ""), *rows], words=2)


def _scores(name: str, tasks: Sequence[dict[str, Any] | None]) -> tuple[str, ...]:
    """Return a task's row; a run that judged it by another metric has no score in it."""
    metric = next(task["primary"] for task in tasks if task)
    scores = [task["shared"].get(metric) if task and task["primary"] == metric else None for task in tasks]
    return name, metric, *(NOTHING if score is None else f"{score:.4g}" for score in scores), ""


def _ways_on(well: Sequence[Ended]) -> Iterator[str]:
    if not well:
        return
    yield ""
    yield from wrap(
        "Choose by `validation`, the composite on validation rows: the scores above are on test rows, and the best of "
        "many tries looks better there than it is.",
        COLUMNS,
    )
    if len(well) > 1:
        yield f"compare  trunkline compare {RESULTS / well[0].name} {RESULTS / well[1].name}"
    yield f"take     cp -R {RESULTS}/NAME/. . && dvc checkout    # `dvc pull` where runs were elsewhere"
