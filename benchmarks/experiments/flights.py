"""The demo's flights: what is known of sharing there must come out, and again with other seeds."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.experiments.finding import Finding
from benchmarks.experiments.planted import quiet
from trunkline import stages
from trunkline.files import read_json, write_json
from trunkline.project import PARAMS, Project, parse_project, read_yaml

REPEATS = 5
SMALL = 0.02  # share of the training rows


def run(root: Path) -> list[Finding]:
    """Repeat the verdicts, turn the normalisation off, and do with few rows.

    Args:
        root: A checkout with data/validated.
    """
    return [*repeated(root), *raw_losses(root), *few_rows(root)]


def repeated(root: Path) -> list[Finding]:
    """Count the repeats in which sharing is said to help arr60."""
    said = [_judged(root, {"seed": seed})["tasks"]["arr60"]["transfer"]["verdict"] for seed in range(1, REPEATS + 1)]
    return [Finding(f"arr60 helped in {REPEATS} repeats with other seeds", said.count("helped"), REPEATS - 1)]


def raw_losses(root: Path) -> list[Finding]:
    """Train on losses in minutes: two tasks must be hurt, a third no longer helped, the first advice to normalise."""
    evaluation = _judged(root, {"training": {"normalize": "off"}})
    found = []
    for name in ("cancelled", "arr15"):
        transfer = evaluation["tasks"][name]["transfer"]
        what = f"losses in minutes: gain of {name}, {transfer['verdict']}"
        found.append(Finding(what, transfer["gain"] if transfer["verdict"] == "hurt" else float("nan"), -1, 0))
    lost = evaluation["tasks"]["arr60"]["transfer"]
    what = f"losses in minutes: gain of arr60, {lost['verdict']}; normalised it is helped"
    found.append(Finding(what, lost["gain"] if lost["verdict"] != "helped" else float("nan"), -1, 0.002))
    first = evaluation["advice"][0]["says"]
    named = float("training.normalize" in first)
    return [*found, Finding("the first advice names training.normalize", named, 1, 1)]


def few_rows(root: Path) -> list[Finding]:
    """Train on 2 % of the rows: whatever is said of cancelled, it must be said again with other seeds."""
    changes = {"split": {"train_share": SMALL}, "training": {"seeds": 5 * REPEATS}}
    verdict, times = Counter(_judged(root, changes, parts=REPEATS)["verdicts"]["cancelled"]).most_common(1)[0]
    return [Finding(f"2 % of the rows: cancelled is said to be {verdict}, times of {REPEATS}", times, REPEATS - 1)]


def _judged(root: Path, changes: dict[str, Any], parts: int = 1) -> dict[str, Any]:
    """Run split to evaluate on the checkout's validated rows with some settings changed; return evaluation.json.

    With several `parts` the trainings are judged in as many groups, whose verdicts stand under "verdicts".
    """
    project = _project(root, changes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(root / stages.VALIDATED, folder / stages.VALIDATED)
        write_json(folder / stages.REPORTS / "validation.json", {})
        with quiet():
            stages.split(folder, project)
            stages.encode(folder, project)
            stages.train(folder, project)
            for task in project.tasks:
                stages.baseline(folder, project, task)
            if parts == 1:
                stages.evaluate(folder, project)
                evaluation: dict[str, Any] = read_json(folder / stages.REPORTS / "evaluation.json")
                return evaluation
            return {"verdicts": _verdicts(folder, project, parts)}


def _project(root: Path, changes: dict[str, Any]) -> Project:
    content = read_yaml(root / PARAMS)
    for section, settings in changes.items():
        content[section] = {**content[section], **settings} if isinstance(settings, dict) else settings
    return parse_project(content)


def _verdicts(folder: Path, project: Project, parts: int) -> dict[str, list[str]]:
    from dataclasses import replace

    from trunkline.data.encode import Encoded
    from trunkline.evaluation.rows import read_test_rows
    from trunkline.evaluation.score import evaluate_evidence
    from trunkline.training.arm import load_arm
    from trunkline.training.judge import collect_evidence

    encoded = Encoded(folder / stages.ENCODED, list(project.tasks))
    trained = load_arm(folder / stages.SHARED, encoded.encoder)
    evidence = collect_evidence(project.tasks, encoded, trained, folder / stages.ALONE, project.threads)
    rows = read_test_rows(folder / stages.SPLIT, project.split, [])
    said: dict[str, list[str]] = {name: [] for name in project.tasks}
    for part in range(parts):
        chosen = slice(part * evidence[0].seeds // parts, (part + 1) * evidence[0].seeds // parts)
        of_part = [replace(each, shared=each.shared[chosen], alone=each.alone[chosen], exported=0) for each in evidence]
        judged = evaluate_evidence(of_part, rows, project.evaluation, project.seed, encoded.labelled, None)
        for name, task in judged["tasks"].items():
            said[name].append(task["transfer"]["verdict"])
    return said
