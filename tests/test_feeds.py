"""The feed builder: every cell of every Arrow type becomes what the graph shall read, or its row is rejected."""

from __future__ import annotations

import datetime as dt
import math
import re
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import DataError
from trunkline.serving.feeds import Input, build_feeds

MISSING = -(2**63)
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
WRONG = object()
SPACES = " \t\n\v\f\r"


def feed(cells: Any, kind: Any, name: str = "x") -> tuple[list[Any], dict[int, str]]:
    """The feed of one column as a list, after a look at its shape and type."""
    feeds, rejected = build_feeds(pa.table({name: cells}), [Input(name, kind)])
    values = feeds[name]
    assert values.shape == (len(cells), 1)
    assert values.dtype == {"numeric": np.float64, "categorical": object, "timestamp": np.int64}[kind]
    return values[:, 0].tolist(), rejected


# --- a slow reference, one cell at a time -----------------------------------------------------------------


def as_number(cell: Any) -> Any:
    if cell is None:
        return math.nan
    if not isinstance(cell, str | bytes):
        return float(cell)
    try:
        text = (cell if isinstance(cell, str) else cell.decode()).strip(SPACES)
    except UnicodeDecodeError:
        return WRONG
    if re.fullmatch(r"[+-]?nan\(\w*\)", text, re.IGNORECASE | re.ASCII):
        return math.nan
    try:
        return float(text) if text.isascii() and "_" not in text else WRONG
    except ValueError:
        return WRONG if text else math.nan


def as_word(cell: Any) -> Any:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bytes):
        try:
            return cell.decode()
        except UnicodeDecodeError:
            return WRONG
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else str(cell)
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def as_moment(cell: Any, per_second: int = 1) -> Any:
    if cell is None or cell == MISSING or (isinstance(cell, float) and math.isnan(cell)):
        return MISSING
    if isinstance(cell, float) and math.isinf(cell):
        return WRONG
    seconds = math.floor(cell) // per_second
    return seconds if FIRST_SECOND <= seconds <= LAST_SECOND else WRONG


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return (math.isnan(found) and math.isnan(expected)) or found == expected
    return bool(found == expected)


def agrees(cells: Any, kind: Any, expected: list[Any]) -> None:
    values, rejected = feed(cells, kind)
    missing = {"numeric": math.nan, "categorical": "", "timestamp": MISSING}[kind]
    assert list(rejected) == [row for row, value in enumerate(expected) if value is WRONG]
    assert all(reason.startswith("column 'x': ") for reason in rejected.values())
    wanted = [missing if value is WRONG else value for value in expected]
    assert all(map(same, values, wanted)), [(f, w) for f, w in zip(values, wanted, strict=True) if not same(f, w)]


# --- any column of the accepted types ---------------------------------------------------------------------


def column(values: st.SearchStrategy[Any], *types: Any) -> st.SearchStrategy[tuple[list[Any], Any]]:
    """Lists of cells, null among them, with a type that holds them."""
    return st.tuples(st.lists(st.none() | values, max_size=12), st.sampled_from(types))


def form(cells: Any, how: str) -> Any:
    """The same cells as Arrow may also lay them out."""
    if how == "dictionary":
        return cells.dictionary_encode()
    if how == "slice":
        return pa.concat_arrays([cells, cells]).slice(len(cells))
    if how == "chunks":
        return pa.chunked_array([cells.slice(0, 3), cells.slice(3, 0), cells.slice(3)], cells.type)
    return cells


forms = st.sampled_from(["plain", "dictionary", "slice", "chunks"])
bits = {8: st.integers(-(2**7), 2**7 - 1), 64: st.integers(-(2**63), 2**63 - 1)}
integers = column(bits[8], pa.int8(), pa.int16(), pa.int32()) | column(bits[64], pa.int64())
unsigned = column(st.integers(0, 255), pa.uint8(), pa.uint16()) | column(st.integers(0, 2**64 - 1), pa.uint64())
floats = column(st.floats(), pa.float64())
narrow = column(st.floats(width=32), pa.float32()) | column(st.floats(width=16), pa.float16())
decimals = column(st.decimals(-(10**9), 10**9, places=4), pa.decimal128(20, 4), pa.decimal256(60, 4))
spelled = st.one_of(
    st.floats().map(str), st.integers().map(str), st.text("0123456789+-.eEinfa(N)x_ \t\n１é", max_size=7)
)
texts = column(spelled, pa.string(), pa.large_string(), pa.string_view())
raw = column(spelled.map(str.encode) | st.binary(max_size=4), pa.binary(), pa.large_binary(), pa.binary_view())
truths = column(st.booleans(), pa.bool_())
nothing = column(st.none(), pa.null())


@given(st.one_of(integers, unsigned, floats, narrow, decimals, texts, raw, truths, nothing), forms)
@settings(deadline=None, max_examples=300)
def test_numbers_of_any_type_equal_the_slow_reference(cells, how):
    values, kind = cells
    agrees(form(pa.array(values, kind), how), "numeric", [as_number(value) for value in values])


@given(st.one_of(integers, unsigned, decimals, texts, raw, truths, nothing, column(st.text(), pa.string())), forms)
@settings(deadline=None, max_examples=300)
def test_words_of_any_type_equal_the_slow_reference(cells, how):
    values, kind = cells
    agrees(form(pa.array(values, kind), how), "categorical", [as_word(value) for value in values])


@given(floats | narrow, forms)
@settings(deadline=None)
def test_words_of_floats_are_digits_where_whole_and_else_spell_the_same_number(cells, how):
    values, kind = cells
    found, rejected = feed(form(pa.array(values, kind), how), "categorical")
    width = {pa.float64(): np.float64}.get(kind, np.float32)
    assert not rejected
    for value, word in zip(values, found, strict=True):
        if value is None or not math.isfinite(value) or value.is_integer():
            assert word == as_word(value) or width(word) == value >= 2**53 or width(word) == value <= -(2**53)
        else:
            assert width(word) == value


@given(st.one_of(integers, unsigned, floats, nothing), forms)
@settings(deadline=None)
def test_moments_of_numbers_are_seconds_within_the_calendar(cells, how):
    values, kind = cells
    agrees(form(pa.array(values, kind), how), "timestamp", [as_moment(value) for value in values])


@given(
    column(bits[64] | st.integers(-(10**12), 10**12), "s", "ms", "us", "ns"),
    st.sampled_from([None, "UTC", "Asia/Tokyo"]),
    forms,
)
@settings(deadline=None)
def test_moments_of_timestamps_are_rounded_down_in_utc_whatever_unit_and_zone(cells, zone, how):
    values, unit = cells
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    values = [None if value == MISSING else value for value in values]
    stamps = pa.array(values, pa.int64()).cast(pa.timestamp(unit, zone))
    agrees(form(stamps, how), "timestamp", [as_moment(value, per_second) for value in values])


@given(column(st.dates(), pa.date32(), pa.date64()), forms)
@settings(deadline=None)
def test_moments_of_dates_are_their_midnight(cells, how):
    values, kind = cells
    days = [None if day is None else (day - dt.date(1970, 1, 1)).days * 86_400 for day in values]
    agrees(form(pa.array(values, kind), how), "timestamp", [as_moment(day) for day in days])


@given(st.lists(st.datetimes(timezones=st.none() | st.timezones()), max_size=8), forms, st.sampled_from("T "))
@settings(deadline=None)
def test_moments_of_iso_text_equal_pythons_own_reading(moments, how, mark):
    moments = [m for m in moments if m.tzinfo is None or m.utcoffset().seconds % 60 == 0]
    known = [m if m.tzinfo else m.replace(tzinfo=dt.UTC) for m in moments]
    seconds = [(m - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1) for m in known]
    text = pa.array([m.isoformat(mark) for m in moments], pa.string())
    values, rejected = feed(form(text, how), "timestamp")
    assert (values, rejected) == (seconds, {})


# --- what a person meets ----------------------------------------------------------------------------------


def test_a_number_that_is_none_is_named_with_its_column_and_never_guessed():
    values, rejected = feed(
        pa.array(["719", "12abc", "1,234", "0x1F", "1_000", "", " 5 ", "1e3"]), "numeric", "distance"
    )
    assert list(rejected) == [1, 2, 3, 4]
    assert rejected[1] == "column 'distance': '12abc' is not a number"
    np.testing.assert_array_equal(values, [719, np.nan, np.nan, np.nan, np.nan, np.nan, 5, 1000])


def test_infinities_stay_for_the_graph_to_judge():
    assert feed(pa.array([math.inf, -math.inf]), "numeric")[0] == [math.inf, -math.inf]


def test_words_that_onnxruntime_would_misread_are_missing_or_plain():
    assert feed(pa.array(["None", "nan", None, ""]), "categorical")[0] == ["None", "nan", "", ""]
    assert feed(pa.array([b"N14228", None], pa.binary()), "categorical")[0] == ["N14228", ""]
    assert feed(pa.array([7.0, math.nan, None, math.inf]), "categorical")[0] == ["7", "", "", ""]
    assert feed(pa.array([7, None]), "categorical")[0] == ["7", ""]


def test_moments_become_words_as_iso_text():
    stamps = pa.array([0, 1_500_000], pa.int64()).cast(pa.timestamp("us"))
    assert feed(stamps, "categorical")[0] == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500000Z"]
    assert feed(pa.array([dt.date(2013, 1, 31)]), "categorical")[0] == ["2013-01-31"]


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2013", "20130131", "2013010105", "1357034400", "31.01.2013", "2013-W05-4", "\ud7ff"),
        *("2013-02-30", "2013-01-31T24:00", "2013-01-31T05:00:60", "2013-01-31T05", "2013-01-31-05:00", "２013-01-31"),
    ],
)
def test_text_that_is_no_iso_moment_is_rejected_and_says_how_to_write_one(text):
    values, rejected = feed(pa.array([text]), "timestamp", "time_hour")
    assert values == [MISSING]
    assert rejected == {0: f"column 'time_hour': {text!r} is not a date and time such as 2013-01-31T05:00:00Z"}


def test_the_calendar_ends_with_the_years_1_and_9999():
    edges = [FIRST_SECOND - 1, FIRST_SECOND, LAST_SECOND, LAST_SECOND + 1]
    values, rejected = feed(pa.array(edges), "timestamp")
    assert (values, list(rejected)) == ([MISSING, FIRST_SECOND, LAST_SECOND, MISSING], [0, 3])
    assert feed(pa.array(["0001-01-01", "9999-12-31T23:59:59.9Z"]), "timestamp") == ([FIRST_SECOND, LAST_SECOND], {})


def test_milliseconds_taken_for_seconds_are_rejected():
    values, rejected = feed(pa.array([1_357_034_400, 1_357_034_400_000]), "timestamp")
    assert values == [1_357_034_400, MISSING]
    assert rejected == {1: "column 'x': 1357034400000 int64 lies outside the years 1 to 9999"}


def test_bytes_that_are_no_text_reject_their_row_even_in_a_column_that_claims_to_be_text():
    lying = pa.array([b"EWR", b"\xff\xfe", b"\xc3\xa9"], pa.binary()).view(pa.string())
    for kind in ("categorical", "numeric", "timestamp"):
        assert 1 in feed(lying, kind)[1]
    values, rejected = feed(lying, "categorical")
    assert values == ["EWR", "", "é"]
    assert rejected == {1: r"column 'x': b'\xff\xfe' is not UTF-8 text"}


def test_every_bad_cell_of_a_row_is_named_and_long_ones_are_cut():
    table = pa.table({"a": ["1", "x" * 100], "b": ["y", "z"]})
    rejected = build_feeds(table, [Input("a", "numeric"), Input("b", "numeric")])[1]
    assert rejected == {
        0: "column 'b': 'y' is not a number",
        1: f"column 'a': '{'x' * 36}... is not a number; column 'b': 'z' is not a number",
    }


def test_a_missing_column_is_named_with_the_one_that_was_meant():
    table = pa.table({"distence": [1.0], "origin": ["EWR"]})
    with pytest.raises(DataError, match=r"column 'distance' is missing; did you mean 'distence'\?"):
        build_feeds(table, [Input("distance", "numeric")])
    with pytest.raises(DataError, match="column 'temp' is missing; the columns are distence, origin"):
        build_feeds(table, [Input("temp", "numeric")])


def test_a_column_that_is_there_twice_is_refused():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(DataError, match="column 'x' is there 2 times"):
        build_feeds(table, [Input("x", "numeric")])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (pa.array([0], pa.timestamp("s")), "numeric"),
        (pa.array([[1]]), "numeric"),
        (pa.array([[1]]), "categorical"),
        (pa.array([{"a": 1}]), "timestamp"),
        (pa.array([True]), "timestamp"),
        (pa.array([0], pa.time32("s")), "timestamp"),
    ],
)
def test_a_type_that_the_kind_cannot_hold_is_refused_as_a_whole(cells, kind):
    with pytest.raises(DataError, match=re.escape(f"column 'x': holds {cells.type}; expected ")):
        feed(cells, kind)


def test_other_columns_are_ignored_and_a_record_batch_does_as_well_as_a_table():
    batch = pa.record_batch({"other": [[1]], "x": [1.5]})
    feeds, rejected = build_feeds(batch, [Input("x", "numeric")])
    assert (list(feeds), feeds["x"].tolist(), rejected) == (["x"], [[1.5]], {})


def test_a_table_without_rows_gives_feeds_without_rows():
    for kind in ("numeric", "categorical", "timestamp"):
        assert feed(pa.array([], pa.string()), kind) == ([], {})
        assert feed(pa.chunked_array([], pa.string()), kind) == ([], {})


def test_serving_imports_neither_torch_nor_pandas_nor_what_trains():
    code = (
        "import sys, trunkline.serving.predict\n"
        "allowed = {'trunkline', 'trunkline.errors', 'trunkline.files'}\n"
        "heavy = {'torch', 'pandas', 'polars', 'pydantic', 'onnx', 'scipy', 'sklearn', 'prefect'}\n"
        "ours = {m for m in sys.modules if m.startswith('trunkline') and not m.startswith('trunkline.serving')}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(ours - allowed))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
