"""The experiments whose answer is known, the quick ones; `make experiments` runs them all."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.experiments import null
from benchmarks.experiments.finding import Finding

ROOT = Path(__file__).parents[1]
QUICK = ["affinity", "calibration", "transfer"]
SLOW = [
    "aggregators", "conflict", "dependency", "equal_budget", "fairness", "low_resource", "missing_labels", "null",
    "rare", "sampling_law", "unit_change",
]  # fmt: skip


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_what_is_known_beforehand_comes_out(name: str) -> None:
    findings = import_module(f"benchmarks.experiments.{name}").run()
    assert findings
    assert [finding for finding in findings if not finding.passed] == []


def test_two_sides_that_differ_by_seed_are_not_told_apart() -> None:
    assert all(finding.passed for finding in null.run(repetitions=8))


def test_a_figure_outside_its_bound_fails_and_nan_is_outside() -> None:
    assert Finding("x", 0.5, 0, 1).passed
    assert [Finding("x", seen, 0, 1).passed for seen in (-0.1, 1.1, float("nan"))] == [False] * 3
    bounds = [Finding("x", 0, 0, 0), Finding("x", 0, high=1), Finding("x", 0, low=2), Finding("x", 0, 1, 2)]
    assert [finding.bound for finding in bounds] == ["= 0", "<= 1", ">= 2", "1 to 2"]


def test_the_command_prints_every_finding_and_ends_with_1_where_one_fails() -> None:
    def call(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
        run = f"{before}\nimport sys\nfrom benchmarks.experiments.__main__ import main\nsys.exit(main())"
        return subprocess.run([sys.executable, "-c", run, *words], cwd=ROOT, capture_output=True, text=True)

    good = call("calibration")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.count("pass") == 4
    strict = "import benchmarks.experiments.finding as f; f.Finding.passed = property(lambda finding: False)"
    bad = call("calibration", before=strict)
    assert bad.returncode == 1
    assert bad.stdout.count("FAIL") == 4
    unknown = call("calibrations")
    assert unknown.returncode == 2
    assert "no experiment is called calibrations" in unknown.stderr
