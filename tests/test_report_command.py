"""`trunkline report`: the page again, out of what a run left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trunkline.evaluation.report import render_report
from trunkline.files import sha256, write_json, write_text
from trunkline.stages import VERSIONED

TASK = {
    "kind": "regression",
    "labelled": {"train": 800, "validation": 100, "test": 100},
    "primary": "r2",
    "higher_is_better": True,
    **{side: {"r2": 0.5, "mae": 2.0, "rmse": 3.0} for side in ("shared", "alone", "exported")},
    "transfer": {
        "gain": 0.0,
        "interval": None,
        "gain_percent": 0.0,
        "p": None,
        "p_adjusted": None,
        "verdict": "inconclusive",
        "seeds": 1,
        "margin": 0.005,
        "gains": [0.0],
        "needs": "seeds",
        "seeds_needed": 5,
    },
}
COMPOSITE = {"delta_m_percent": 0.0, "interval": None, "worst_task": "spend", "worst_gain": 0.0}
FOUND: dict[str, Any] = {
    "evaluation": {
        "version": 1,
        "tasks": {"spend": TASK, "visits": TASK},
        "composite": COMPOSITE,
        "gates": [],
        "deployable": True,
    },
    "analysis": {"version": 1, "tasks": {}},
    "drift": {},
    "validation": {"version": 1, "passed": True, "rows": {"read": 1000, "passed": 1000, "set_aside": 0}},
}
HISTORY = {
    "shared": "seed\tepoch\tcomposite\tvalidation.spend\tvalidation.visits\n0\t1\t0.5\t0.5\t0.5\n",
    "spend": "seed\tepoch\tcomposite\tvalidation.spend\n0\t1\t0.5\t0.5\n",
    "visits": "seed\tepoch\tcomposite\tvalidation.visits\n0\t1\t0.5\t0.5\n",
}


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A project after a run, as far as the page reads it."""
    for name in ("dvc.yaml", "params.yaml"):
        write_text(tmp_path / name, "{}\n")
    for name, content in FOUND.items():
        write_json(tmp_path / "reports" / f"{name}.json", content)
    for name, text in HISTORY.items():
        write_text(tmp_path / "models" / ("shared" if name == "shared" else f"alone/{name}") / "history.tsv", text)
    states = {name: {"kind": task["kind"]} for name, task in FOUND["evaluation"]["tasks"].items()}
    write_json(tmp_path / "models/shared/run.json", {"tasks": states})
    for path in VERSIONED:
        write_json(tmp_path / path, {"version": 1, "files": {}})
    return tmp_path


def call(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "trunkline", "report"], cwd=root, capture_output=True, text=True)


def test_the_page_is_made_again_from_what_a_run_left(left):
    done = call(left / "models")
    assert (done.returncode, done.stdout, done.stderr) == (0, "reports/report.html\n", "")
    versions = {path.as_posix(): sha256(left / path) for path in VERSIONED}
    page = render_report(**FOUND, history=HISTORY, versions=versions)
    assert versions[VERSIONED[0].as_posix()] in page
    assert (left / "reports/report.html").read_text(encoding="utf-8") == page


def test_what_is_missing_is_named_and_the_old_page_stays(left):
    write_text(left / "reports/report.html", "old")
    shutil.rmtree(left / "models/shared")
    done = call(left)
    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert "models/shared/history.tsv: is missing; run `trunkline run`" in line
    assert (left / "reports/report.html").read_text() == "old"
