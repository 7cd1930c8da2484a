"""`make bench`: every promise has its row, and a broken one is an error. The size is tiny; its figures say nothing."""

from __future__ import annotations

import doctest
import importlib
import io
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)

    def imported(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return imported


def test_every_row_is_in_the_table_and_on_the_page_and_one_goal_missed_is_an_error(module: Any, tmp_path: Path) -> None:
    figures, world = module("figures"), module("world")
    rows = figures.table_rows(world.TINY.tasks)
    easy = {row.key: figures.at_least(-math.inf) for row in rows if row.goal}
    screen = io.StringIO()
    goals = easy | {"predict.peak": figures.at_most(1)}
    code = module("bench").bench(tmp_path, world.TINY, goals, Console(file=screen, width=200), "python -m benchmarks")
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    for row in rows:
        assert row.what in screen.getvalue()
        assert f"| {row.what} |" in page
    assert code == 1
    missed = [line for line in page.splitlines() if line.endswith("| missed |")]
    assert [line.startswith("| peak memory |") for line in missed] == [True]
    assert page.count("not measured: run `make demo` first") == 2  # the checkout, tmp_path, has no pipeline
    assert str(tmp_path) not in page


def test_a_goal_on_its_bound_is_met_and_what_could_not_be_measured_is_no_miss(module: Any) -> None:
    figures = module("figures")
    rows = [row for row in figures.table_rows(5) if row.goal]
    values = {row.key: figures.Measured(row.goal.bound) for row in rows}
    assert {each.verdict for each in figures.judge(rows, values)} == {"met"}
    values["orchestration.run"] = figures.Measured(None, why="run `make demo` first")
    assert figures.exit_code(figures.judge(rows, values)) == 0
    values["serving.4096.alone"] = figures.Measured(3.99)  # 0.8 x 5 tasks is 4
    assert figures.exit_code(figures.judge(rows, values)) == 1


def test_a_row_without_a_figure_is_refused(module: Any) -> None:
    figures = module("figures")
    with pytest.raises(KeyError, match=r"training\.1024\.rows"):
        figures.judge(figures.table_rows(5), {})


def test_a_childs_peak_is_its_own_and_not_that_of_who_started_it(module: Any, tmp_path: Path) -> None:
    held = bytearray(200 * 2**20)  # bytes
    held[::4096] = b"x" * len(held[::4096])
    cost = module("child").run([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path)
    assert cost.code == 3
    assert cost.peak < 100


@pytest.mark.parametrize("name", ["measure", "report"])
def test_the_examples_in_the_docstrings_run(module: Any, name: str) -> None:
    assert doctest.testmod(module(name)).failed == 0


def test_a_balance_method_over_its_price_or_too_near_to_torchjds_is_an_error(module: Any, capsys: Any) -> None:
    balance = module("balance")
    line = balance.Line
    assert balance.report([line(5, "log", 1.05, 1.05), line(8, "pcgrad", 3.0, 3.0, True)]) == 0
    assert "MISSED" not in capsys.readouterr().out
    for bad in (line(5, "log", 1.06, 1.05), line(8, "pcgrad", 2.9, 3.0, True), line(5, "log", math.nan, 1.05)):
        assert balance.report([line(5, "equal", 1.0, 1.0), bad]) == 1
        assert capsys.readouterr().out.count("MISSED") == 1


def test_every_method_is_measured_at_the_price_that_is_promised(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    balance = module("balance")
    monkeypatch.setattr(balance, "BATCH", 64)
    goals = {line.method: line.goal for line in balance.measure(5, rounds=1, width=8, steps=1)}
    assert (goals["log"], goals["famo"], goals["nash"], goals[balance.EXACT]) == (1.05, 1.1, 1.3, 3.5)
    found = balance.against_torchjd(rounds=1, width=8, steps=1)
    assert {(line.tasks, line.goal, line.faster) for line in found} == {(8, 3.0, True)}
    assert len(found) == 4 and all(line.ratio > 0 for line in found)
