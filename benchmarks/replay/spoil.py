"""Ways to spoil a drop, which the tests of validation use as well, and the twelve that the replay lays in the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Change = Callable[[pa.Table], pa.Table]


def put(table: pa.Table, column: str, values: Any) -> pa.Table:
    """Return the table with another column in the place of one."""
    return table.set_column(table.column_names.index(column), column, values)


def nulls(column: str) -> Change:
    """Lose every value of a column."""
    return lambda table: put(table, column, pa.nulls(len(table), table.schema.field(column).type))


def times(column: str, factor: float) -> Change:
    """Give a column in another unit."""
    return lambda table: put(table, column, pc.multiply(table[column].cast(pa.float64()), factor))


def rows_where(table: pa.Table, share: float) -> pa.Array:
    """Return True for a share of the rows."""
    return pa.array(np.random.default_rng(0).random(len(table)) < share)


def rename(column: str, name: str) -> Change:
    """Give a column another name."""
    return lambda table: table.rename_columns([name if other == column else other for other in table.column_names])


def sometimes(column: str, value: pa.Scalar, share: float = 0.01) -> Change:
    """Write one value into a share of the rows."""
    return lambda table: put(table, column, pc.if_else(rows_where(table, share), value, table[column].cast(value.type)))


def flipped(column: str, share: float) -> Change:
    """Turn a share of the labels round."""
    return lambda table: put(table, column, pc.xor(table[column], rows_where(table, share)))


def twice(table: pa.Table) -> pa.Table:
    """Repeat half of the rows."""
    return pa.concat_tables([table, table.slice(0, len(table) // 2)])


def year_later(table: pa.Table, years: int = 1) -> pa.Table:
    """Return the same rows with keys a year, or some years, later."""
    return put(
        table, "time_hour", pc.add(table["time_hour"], pa.scalar(timedelta(days=365 * years), pa.duration("us")))
    )


# --- the twelve -------------------------------------------------------------------------------------------


class Poison(NamedTuple):
    """A way to spoil a drop, and what the refusal must say after its name, as a regular expression."""

    change: Change
    sentence: str


def _on_time(table: pa.Table, late: int = 0) -> pa.Table:
    """Let all flights be on time but for the first few of the late ones."""
    was_late = np.asarray(table["arr15"].fill_null(False))
    still = pa.array(was_late & (np.cumsum(was_late) <= late))
    for column in ("arr15", "arr60"):
        table = put(table, column, pc.if_else(pc.is_null(table[column]), None, pc.and_(still, table[column])))
    return table


def _empty(table: pa.Table) -> pa.Table:
    for column in table.column_names:
        table = nulls(column)(table)
    return table


def _with_unit(table: pa.Table) -> pa.Table:
    return put(table, "temp", pc.binary_join_element_wise(table["temp"].cast(pa.string()), "F", " "))


def _to_come(table: pa.Table) -> pa.Table:
    later, spoilt = year_later(table, 900)["time_hour"], rows_where(table, 0.3)
    return put(table, "time_hour", pc.if_else(spoilt, later, table["time_hour"]))


POISONS = {
    "no label": Poison(nulls("arr15"), "column 'arr15': .*100 % missing"),
    "one class alone": Poison(_on_time, "column 'arr15': expected true in .*; found true in 0"),
    "one row of a class": Poison(
        lambda table: _on_time(table, 1), "column 'arr15': expected true in .*; found true in 0"
    ),
    "nothing but nulls": Poison(_empty, "column 'flight': expected a value in every row; found nothing"),
    "no rows": Poison(lambda table: table.slice(0, 0), "has column names and no rows"),
    "column removed": Poison(
        lambda table: table.drop_columns(["temp"]), "column 'temp': expected the column; found none"
    ),
    "column retyped": Poison(_with_unit, "column 'temp'"),
    "another unit": Poison(times("distance", 1000), "column 'distance': expected 1 to 12000; .* rows"),
    "labels turned round": Poison(flipped("arr15", 0.3), "column.* 'arr15'.*rows"),
    "categories renamed": Poison(
        lambda table: put(table, "carrier", pc.utf8_lower(table["carrier"])), "column 'carrier': .* of the words new"
    ),
    "half the rows twice": Poison(twice, "columns 'time_hour', .* key of another row of this drop"),
    "in the future": Poison(_to_come, "column 'time_hour': expected no moment in the future"),
}
"""Each must be refused."""

HARMLESS: dict[str, Change] = {
    "columns in another order": lambda table: table.select(table.column_names[::-1]),
    "a column more": lambda table: table.append_column("gate", pa.array(["A1"] * len(table))),
}
"""Each must pass."""
