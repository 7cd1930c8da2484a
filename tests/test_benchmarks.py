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

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

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


def test_our_side_of_each_form_of_experts_trains_at_the_sizes_and_answers(module: Any, tmp_path: Path) -> None:
    forms, peers = module("peers.forms"), module("peers.__main__")
    forms.write_rows(tmp_path / "rows.npz", (2 * forms.BATCH, 200, 500))
    inputs, layer = forms.NUMBERS + len(forms.WORDS) * forms.EMBEDDING, 64 * 65
    rest = sum(forms.WORDS) * forms.EMBEDDING + forms.TASKS * 65  # tables, heads
    wide = 64 * (inputs + 1)
    mmoe = 8 * (wide + layer) + forms.TASKS * 8 * (inputs + 1)
    with peers.prepared(Path(sys.executable), "ours", tmp_path / "rows.npz", "MMoE, 8 experts") as side:
        one, again = side.train(1), side.train(1)
    assert side.rate in forms.RATES
    assert one.learned == mmoe + rest
    assert 0.45 < one.auc == again.auc < 1  # a few steps, from the same seed
    assert one.spent.cpu > 0
    assert side.process.returncode is not None


@pytest.mark.parametrize(("name", "experts", "gates"), [
    ("CGC, 4 shared experts, 1 per task", (8, 8), (4 * 5, 0)),
    ("PLE, 2 levels of 2 shared, 1 per task", (6, 6), (4 * 3 + 6, 4 * 3)),
])  # fmt: skip
@pytest.mark.usefixtures("one_thread")
def test_a_form_of_experts_has_the_sizes_that_are_compared(
    module: Any, tmp_path: Path, name: str, experts: tuple[int, int], gates: tuple[int, int]
) -> None:
    """Per layer: experts, and units of gates."""
    forms, ours = module("peers.forms"), module("peers.ours")
    forms.write_rows(tmp_path / "rows.npz", (2 * forms.BATCH, 200, 500))
    inputs = forms.NUMBERS + len(forms.WORDS) * forms.EMBEDDING
    model = ours.training(forms.FORMS[name], forms.read_rows(tmp_path / "rows.npz"))(1, 1e-3)
    layers = [(experts[0] * 64 + gates[0]) * (inputs + 1), (experts[1] * 64 + gates[1]) * 65]
    assert model.learned == sum(layers) + sum(forms.WORDS) * forms.EMBEDDING + forms.TASKS * 65
    assert model.scores("test").shape == (500, forms.TASKS)


def test_a_peer_too_near_or_one_that_learns_more_is_an_error(module: Any, capsys: Any) -> None:
    peers, spent = module("peers.__main__"), module("measure").Spent

    def line(faster: float, gained: float) -> Any:
        ours, theirs = peers.Trained(spent(1.0, 1.0), 0.8 + gained, 10), peers.Trained(spent(faster, 1.0), 0.8, 10)
        return peers.Line("form", [ours], [theirs], (1e-3, 1e-3))

    assert peers.report([line(2.0, 0.0), line(3.0, -0.004)]) == 0
    assert "MISSED" not in capsys.readouterr().out
    for bad in (line(1.9, 0.0), line(3.0, -0.006), line(math.nan, 0.0), line(3.0, math.nan)):
        assert peers.report([line(2.0, 0.0), bad]) == 1
        assert capsys.readouterr().out.count("MISSED") == 1


def test_the_area_under_the_curve_of_the_peers_is_that_of_scikit_learn(module: Any) -> None:
    chance = np.random.default_rng(1)
    labels = (chance.random((300, 3)) < (0.1, 0.5, 0.9)).astype(np.float32)
    scores = labels + chance.normal(size=labels.shape)
    assert module("peers.forms").auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
