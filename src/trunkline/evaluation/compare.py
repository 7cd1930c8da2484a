"""Two finished runs side by side: what became of each task's scores and verdicts, and what else differs.

difference  B minus A, turned so that + is better. Each score has its interval; intervals that overlap do not show that
            nothing changed, because they are no paired test
gain        of sharing, per seed. Where both runs judge the same rows with the same seeds, seed s of A and of B are a
            pair, and the change of the gain has an interval of its own: a t interval over the seeds, for these rows
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.evaluation.wording import known

DATA = ("data/incoming", "data/split")
CODE = ("src/", "requirements.lock")
FEWEST_PAIRS = 3  # seeds behind a t interval
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Attributes:
        name: What the reader calls it.
        evaluation: Content of reports/evaluation.json.
        params: Content of params.yaml; empty where there is none.
        lock: Content of dvc.lock; empty where there is none.
    """

    name: str
    evaluation: Mapping[str, Any]
    params: Mapping[str, Any]
    lock: Mapping[str, Any]

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """What was found on each task."""
        return dict(self.evaluation["tasks"])

    @property
    def hashes(self) -> dict[str, list[str]]:
        """Hashes of the files and folders that the run read or wrote, by path; several where stages saw several."""
        found: dict[str, set[str]] = {}
        for stage in self.lock.get("stages", {}).values():
            for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
                found.setdefault(entry["path"], set()).add(entry.get("md5", ""))
        return {path: sorted(hashes) for path, hashes in sorted(found.items())}


def compare(a: Run, b: Run) -> dict[str, Any]:
    """Return what differs between two runs, each pair of values in the order A, B.

    Returns:
        Names under "a" and "b"; per task of both "metric", "shared", "exported", "gain", "verdict", "difference",
        "intervals", "overlap" (None = unknown) and "gain_change" (None where seeds are no pairs); "only_in_a",
        "only_in_b"; "delta_m_percent", "deployable"; "changed" params, data and code; "remarks", sentences.
    """
    paired = _same_seeds_and_rows(a, b)
    composites = [run.evaluation.get("composite", {}) for run in (a, b)]
    return {
        "a": a.name,
        "b": b.name,
        "tasks": {name: _task(a.tasks[name], b.tasks[name], paired) for name in a.tasks if name in b.tasks},
        "only_in_a": [name for name in a.tasks if name not in b.tasks],
        "only_in_b": [name for name in b.tasks if name not in a.tasks],
        "delta_m_percent": [composite.get("delta_m_percent") for composite in composites],
        "deployable": [run.evaluation.get("deployable") for run in (a, b)],
        "changed": {
            "params": _changed_params(a.params, b.params),
            "data": [path for path in _changed_paths(a, b) if path in DATA],
            "code": [path for path in _changed_paths(a, b) if path.startswith(CODE)],
        },
        "remarks": [*_remarks(a, b)],
    }


def _task(a: Mapping[str, Any], b: Mapping[str, Any], paired: bool) -> dict[str, Any]:
    """Compare a task by the primary metric of B; A's gain and verdict are no match where it had another."""
    metric, same = b["primary"], a["primary"] == b["primary"]
    shared, exported = ([task[side].get(metric) for task in (a, b)] for side in ("shared", "exported"))
    intervals = [task.get("intervals", {}).get("shared", {}).get(metric) for task in (a, b)]
    transfers = [a["transfer"], b["transfer"]]
    return {
        "metric": metric,
        "shared": shared,
        "exported": exported,
        "gain": [transfers[0]["gain"] if same else None, transfers[1]["gain"]],
        "verdict": [transfer["verdict"] for transfer in transfers],
        "difference": _difference(shared, b["higher_is_better"]),
        "intervals": intervals,
        "overlap": _overlap(*intervals),
        "gain_change": _gain_change(*(each.get("gains") or [] for each in transfers)) if paired and same else None,
    }


def _difference(scores: list[float | None], higher_is_better: bool) -> float | None:
    a, b = scores
    if not known(a) or not known(b):
        return None
    return b - a if higher_is_better else a - b


def _overlap(a: list[float] | None, b: list[float] | None) -> bool | None:
    if not a or not b:
        return None
    return a[0] <= b[1] and b[0] <= a[1]


def _gain_change(a: list[float], b: list[float]) -> dict[str, Any] | None:
    """Return by how much the gain changed, with a t interval over the seeds as pairs."""
    if len(a) != len(b) or len(a) < FEWEST_PAIRS or not all(known(gain) for gain in [*a, *b]):
        return None
    from scipy.special import stdtrit  # quantile of t; scipy.stats has it too and takes a second to load

    changes = [after - before for before, after in zip(a, b, strict=True)]
    mean, error = statistics.fmean(changes), statistics.stdev(changes) / math.sqrt(len(changes))
    reach = float(stdtrit(len(changes) - 1, (1 + CONFIDENCE) / 2)) * error
    return {"mean": mean, "interval": [mean - reach, mean + reach], "seeds": len(changes)}


def _same_seeds_and_rows(a: Run, b: Run) -> bool:
    """Whether seed s of both runs is the same draw, and both judge the same test rows, as far as the locks tell."""
    rows = [run.hashes.get("data/split") for run in (a, b)]
    seeds = [run.params.get("seed", 0) if run.params else None for run in (a, b)]
    return None not in [*rows, *seeds] and rows[0] == rows[1] and seeds[0] == seeds[1]


def _changed_params(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that differ as they are written, by dotted key; None = not written."""
    if not a or not b:
        return {}
    before, after = dict(_flat(a)), dict(_flat(b))
    pairs = {key: [before.get(key), after.get(key)] for key in [*before, *(key for key in after if key not in before)]}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _changed_paths(a: Run, b: Run) -> list[str]:
    """Return the files and folders whose hashes differ; those of one run alone too, where both have a lock."""
    before, after = a.hashes, b.hashes
    if not before or not after:
        return []
    return [path for path in sorted(before | after) if before.get(path) != after.get(path)]


def _remarks(a: Run, b: Run) -> Iterator[str]:
    for run in (a, b):
        yield from _missing(run)
        if stale := _not_run(run):
            yield f"{run.name}: params.yaml was changed after the run ({', '.join(stale)}); see `trunkline plan`"
    if "data/split" in _changed_paths(a, b):
        yield "the runs were judged on different test rows: a difference of scores may be one of rows"
    for name in (name for name in a.tasks if name in b.tasks):
        before, after = a.tasks[name]["primary"], b.tasks[name]["primary"]
        if before != after:
            yield f"{name}: A was judged by {before}, B by {after}; scores are by {after}, verdicts do not compare"


def _missing(run: Run) -> Iterator[str]:
    for file, content, what in (("params.yaml", run.params, "settings"), ("dvc.lock", run.lock, "data and code")):
        if not content:
            yield f"{run.name}: holds no {file}, so that changes of {what} are unknown"


def _not_run(run: Run) -> list[str]:
    """Return the sections of params.yaml that are not what the stages were last run with."""
    if not run.params:
        return []
    stale = set()
    for name, stage in run.lock.get("stages", {}).items():
        used = {} if "@" in name else stage.get("params", {}).get("params.yaml", {})
        stale |= {key for key, value in used.items() if _value(run.params, key) != value}
    return sorted(stale)


def _value(params: Any, key: str) -> Any:
    for word in key.split("."):
        params = params.get(word) if isinstance(params, Mapping) else None
    return params
