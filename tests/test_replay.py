"""`make replay`: a missed bar is an error, and a year that is small shows that everything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from drops import lay, take_in

from benchmarks.replay import bars as judged
from benchmarks.replay import page as pages
from benchmarks.replay.__main__ import run
from benchmarks.replay.asker import Heard
from benchmarks.replay.drops import months, sample
from benchmarks.replay.place import FULL, QUICK, TINY, Ended, params
from benchmarks.replay.spoil import HARMLESS, POISONS
from benchmarks.replay.year import Decided, Month, Refusal, Story, Task, trained
from trunkline import stages
from trunkline.errors import DataError
from trunkline.files import read_json
from trunkline.project import Project, parse_project

JULY, AUGUST, SEPTEMBER = (f"flights-2013-{month:02d}.parquet" for month in (7, 8, 9))
GOOD, WRONG = Ended(0, "flights: Promoted: fine"), Ended(5, "disk full")
HEARD = Heard(9, ["1"], [])


class Registry:
    """As much of a registry as the bars look at."""

    def __init__(self, bound: float = 0.004, gate: bool = True) -> None:
        compared = {"task": "arr15", "decides": True, "interval": [-bound, 0.1], "limit": 0.01}
        gates = [{"task": "arr15", "passed": gate}]
        self.decision = {"alias": "champion", "gates": gates, "compared": [compared]}

    def versions(self) -> list[int]:
        return [1]

    def entry(self, version: int) -> dict[str, Any]:
        return {"promoted": [self.decision]}


class Place:
    """A project that has nothing but a registry."""

    def __init__(self, **registry: Any) -> None:
        self.registry = Registry(**registry)


def month(**changes: Any) -> Month:
    windows = {"train": "2013-01-01T00:00", "validation": "2013-08-01T00:00", "test": "2013-09-01T00:00"}
    tasks = {"arr15": Task("roc_auc", 0.2, 0.71, 0.72, 0.001, 0.01)}
    facts = (SEPTEMBER, GOOD, [], windows, 900, ["column temp"], 1, 1, True, "it is better", tasks, True, 1.0)
    return Month(*facts)._replace(**changes)


def refusal(**changes: Any) -> Refusal:
    return Refusal("no label", SEPTEMBER, Ended(3, "refused"), True, False, HEARD, 1, True)._replace(**changes)


def story(**changes: Any) -> Story:
    out = Decided(Ended(6, "its run is not deployable"), 1, 2, 1, True)
    back = Decided(GOOD, 2, 2, 1, True)
    passed = {"half": Ended(0, "")}
    whole = {"months": [month()], "refusals": [refusal()], "halves": passed, "harmless": passed, "ruined": out}
    return Story(**{**whole, "rollback": back, "heard": HEARD, **changes})


def missed(told: Story, **registry: Any) -> set[str]:
    return {bar.what for bar in judged.bars(told, Place(**registry), 3) if not bar.met}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "bar"),
    [
        ({"months": [month(stopped=[SEPTEMBER])]}, "real months pass"),
        ({"months": [month(drop=JULY)]}, "windows follow the newest month"),
        ({"months": [month(follows=False)]}, "the service follows the champion after a month"),
        ({"months": [month(ended=Ended(0, "In service"))]}, "Prefect's own server: the last month is Completed"),
        ({"refusals": [refusal(), refusal(ended=GOOD)]}, "spoilt drops refused"),
        ({"refusals": [refusal(named=False)]}, "... file, column and fault named"),
        ({"refusals": [refusal(touched=True)]}, "... nothing trained, no model touched"),
        ({"refusals": [refusal(ended=Ended(3, "\ntrain   ran  1.0 s"))]}, "... nothing trained, no model touched"),
        ({"refusals": [refusal(heard=Heard(9, ["1", "2"], []))]}, "... the champion kept answering"),
        ({"refusals": [refusal(heard=Heard(9, ["1"], ["503"]))]}, "... the champion kept answering"),
        ({"refusals": [refusal(heard=Heard(0, [], []))]}, "... the champion kept answering"),
        ({"refusals": [refusal(clean=False)]}, "... good again once taken away, nothing trained"),
        ({"halves": {"half": WRONG}}, "half months pass"),
        ({"harmless": {"order": WRONG}}, "harmless changes pass"),
        ({"ruined": Decided(GOOD, 1, 2, 2, True)}, "a model that fails a gate is kept out"),
        ({"rollback": Decided(WRONG, 2, 2, 2, True)}, "rollback takes one command, and the service follows"),
        ({"heard": Heard(9, ["1"], ["refused"])}, "questions answered"),
    ],
)
def test_each_bar_can_be_missed_and_alone(changes: dict[str, Any], bar: str) -> None:
    assert missed(story()) == set()
    assert missed(story(**changes)) == {bar}


def test_a_champion_that_lost_too_much_or_failed_a_gate_misses_its_bar() -> None:
    assert missed(story(), bound=0.02) == {"tasks that lost no more than declared to a new champion"}
    assert missed(story(), gate=False) == {"champions whose gates all hold"}


def test_the_tables_and_the_page_show_months_and_what_was_missed() -> None:
    told = story(months=[month(), month(version=2)], halves={"half 3": WRONG})
    found = list(judged.bars(told, Place(), 3))  # type: ignore[arg-type]
    assert "| half months pass | 0 | 1 | MISSED |" in pages.markdown(pages.table_of_bars(found))
    said = pages.markdown(pages.table_of_months(told.months))
    assert "| 2013-09-01 | 900 | 1 | 2 kept out | 1 | 0.710 > 0.720 | 0.2 |" in said
    assert pages.page(told, found).count("<svg") == 2
    assert "half 3 code 5: disk full" in [bar.fault for bar in found]


def test_a_run_says_what_it_trained() -> None:
    assert trained("split  ran  1.0 s\ntrain                    ran         5.8 s\n")
    assert trained("baseline@arr15  ran  1.0 s\n")
    assert not trained("train                    cached\n    train from 2013: the ran sides\nsplit  ran  1 s\n")


def test_every_month_moves_the_windows_and_a_spoilt_one_nothing(tmp_path: Path) -> None:
    project, drops = parse_project(params(TINY)), months(TINY.rows)
    lay(tmp_path, {name: drops[name] for name in (JULY, AUGUST, SEPTEMBER)})
    take_in(tmp_path, project)
    assert windows(tmp_path, project) == ["2013-02-01", "2013-08-01", "2013-09-01"]
    name, poison = "flights-2013-10.parquet", POISONS["one row of a class"]
    lay(tmp_path, {name: poison.change(drops[name])})
    with pytest.raises(DataError) as caught:
        take_in(tmp_path, project)
    assert re.search(f"- {name}, {poison.sentence}", str(caught.value))
    table = sample(drops[name], 750, 1)
    for change in HARMLESS.values():
        table = change(table)
    lay(tmp_path, {name: table})
    take_in(tmp_path, project)
    assert windows(tmp_path, project) == ["2013-03-01", "2013-09-01", "2013-10-01"]


def windows(root: Path, project: Project) -> list[str]:
    stages.split(root, project)
    return [start[:10] for start in read_json(root / "data/split/manifest.json")["windows"].values()]


def test_the_sizes_are_what_the_docs_say() -> None:
    for size in (FULL, QUICK):
        assert (len(POISONS), size.poisons, size.halves) == (12, 12, 8)
        assert parse_project(params(size)).split.moves  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_small_year_holds_every_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path / "flights", TINY, tmp_path / "year.html")
    assert code == 0, capsys.readouterr().out
    assert "MISSED" not in (tmp_path / "year.html").read_text()
