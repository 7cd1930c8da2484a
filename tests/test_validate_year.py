"""The whole year of real flights, and a thirteenth file that is spoilt in one way or another."""

from __future__ import annotations

from pathlib import Path

import drops
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from drops import NEW, lay, take_in
from test_validate import POISONS

from benchmarks.replay.spoil import POISONS as REPLAYED
from benchmarks.replay.spoil import times, year_later
from trunkline.errors import DataError
from trunkline.project import parse_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("year")
    lay(root, drops.months())
    return root


@pytest.fixture
def place(year: Path) -> Path:
    (year / "data/incoming" / NEW).unlink(missing_ok=True)
    return year


def test_the_twelve_months_pass_but_for_the_absurd_wind(place: Path) -> None:
    take_in(place, parse_project(drops.params()))
    aside = pq.read_table(place / "data/validated/quarantine.parquet")
    assert len(aside) == 32
    assert set(aside["drop"].to_pylist()) == {"flights-2013-02.parquet"}
    assert pc.min(aside["wind_speed"]).as_py() > 1048
    assert pq.read_metadata(place / "data/validated/rows.parquet").num_rows == 336_776 - 32


@pytest.mark.parametrize("month", ["01", "07", "12"])
def test_a_good_thirteenth_file_passes(place: Path, month: str) -> None:
    lay(place, {NEW: year_later(drops.months()[f"flights-2013-{month}.parquet"])})
    take_in(place, parse_project(drops.params()))


FULL_SIZE = {name: change for name, (change, _) in POISONS.items()} | {
    "unit of a column without a maximum": times("origin_day_load", 1000),
    "unit of a column that is nearly always zero": times("precip", 1000),
    "unit of a column whose rows are set aside": times("wind_speed", 1000),
}


@pytest.mark.parametrize("poison", FULL_SIZE)
def test_a_spoilt_thirteenth_file_is_refused_by_name(place: Path, poison: str) -> None:
    lay(place, {NEW: FULL_SIZE[poison](year_later(drops.months()["flights-2013-12.parquet"]))})
    with pytest.raises(DataError, match=f"- {NEW}, column"):
        take_in(place, parse_project(drops.params()))


@pytest.mark.parametrize("poison", REPLAYED)
def test_a_thirteenth_file_spoilt_as_the_replay_does_is_refused_by_name(place: Path, poison: str) -> None:
    change, sentence = REPLAYED[poison]
    lay(place, {NEW: change(year_later(drops.months()["flights-2013-12.parquet"]))})
    with pytest.raises(DataError, match=f"{NEW}.*{sentence}"):
        take_in(place, parse_project(drops.params()))


def test_tail_numbers_and_planes_are_refused_and_nothing_else(place: Path) -> None:
    content = drops.params()
    content["columns"] |= {"tailnum": {"kind": "categorical"}, "plane_year": {"kind": "numeric"}}
    with pytest.raises(DataError) as caught:
        take_in(place, parse_project(content))
    said = str(caught.value)
    assert "'tailnum': where it is missing (2,512 rows), 'cancelled' is true in 100 % of rows (1.7 % elsewhere)" in said
    assert "input 'plane_year': where it is missing and 'carrier' is '9E'" in said
    assert said.count("\n- input") == 2
