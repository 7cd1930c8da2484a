from __future__ import annotations

import copy
import datetime as dt
import gzip
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import stages
from trunkline.data.conversion import MOMENT, NUMBER, TEXT, TRUTH, WHOLE, convert, family
from trunkline.data.ingest import find_drops, needs
from trunkline.errors import DataError, ParamsError
from trunkline.files import check_seal
from trunkline.project import Project, parse_project

PARAMS: dict[str, Any] = {
    "version": 1,
    "data": {"key": ["id"], "keep": ["note"]},
    "columns": {"temp": {"kind": "numeric"}, "word": {"kind": "categorical"}, "seen": {"kind": "timestamp"}},
    "tasks": {
        "late": {"kind": "binary", "target": "late"},
        "class": {"kind": "multiclass", "target": "grade"},
        "delay": {"kind": "regression", "target": "delay"},
    },
    "split": {"kind": "group", "columns": ["family"]},
}
HEADER = "id,temp,word,seen,late,grade,delay,family,note\n"
ROW = "7,1.5,red,2013-01-01T10:00:00Z,true,3,-2,f1,hello\n"


def project(**changes: Any) -> Project:
    return parse_project(copy.deepcopy(PARAMS) | changes)


def put(root: Path, name: str, content: str | bytes | pa.Table) -> Path:
    path = root / "data/incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def ingested(root: Path, **changes: Any) -> pa.Table:
    stages.ingest(root, project(**changes))
    return pq.read_table(root / "data/raw/rows.parquet")


PARQUET_DROP = pa.table(
    {
        "note": ["n"],
        "grade": pa.array([3.0]),
        "late": pa.array([1], pa.int8()),
        "seen": pa.array([1357034400], pa.int64()),
        "word": pa.array([12], pa.int16()),
        "temp": pa.array([Decimal("1.50")]),
        "delay": pa.array([float("nan")]),
        "id": pa.array([7], pa.int32()),
        "unasked": [[1, 2]],
    }
)


# --- a whole stage ----------------------------------------------------------------------------------------


def test_drops_of_every_form_become_one_table_of_declared_types(tmp_path: Path) -> None:
    put(tmp_path, "b.csv", gzip.compress((HEADER + ROW).encode()))
    put(tmp_path, "a.parquet", PARQUET_DROP)
    table = ingested(tmp_path)
    ten = dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC)
    assert table.schema.names == [*project().needed_columns, "drop"]
    assert table.to_pydict() == {
        "id": ["7", "7"],  # a whole number in one drop, text in the other
        "temp": [1.5, 1.5],
        "word": ["12", "red"],
        "seen": [ten, ten],
        "late": [True, True],
        "grade": ["3", "3"],
        "delay": [None, -2.0],
        "family": [None, "f1"],
        "note": ["n", "hello"],
        "drop": ["a.parquet", "b.csv"],
    }


def test_the_manifest_tells_what_each_drop_lacks_and_what_nobody_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "b.csv", HEADER + ROW + ROW)
    first = put(tmp_path, "a.parquet", PARQUET_DROP)
    ingested(tmp_path)
    manifest = check_seal(tmp_path / "data/raw")
    assert manifest["rows"] == 3
    assert manifest["schema"]["seen"] == "timestamp[us, tz=UTC]"
    sha256 = hashlib.sha256(first.read_bytes()).hexdigest()
    assert manifest["drops"][0] == {
        "name": "a.parquet", "rows": 1, "sha256": sha256, "missing": ["family"], "extra": ["unasked"],
    }  # fmt: skip
    assert [drop["name"] for drop in manifest["drops"]] == ["a.parquet", "b.csv"]
    assert manifest["drops"][1]["missing"] == manifest["drops"][1]["extra"] == []


def test_every_drop_is_a_row_group_in_the_order_of_names(tmp_path: Path) -> None:
    for name, rows in (("b9.csv", 3), ("a.csv", 1), ("b10.csv", 2)):
        put(tmp_path, name, HEADER + ROW * rows)
    ingested(tmp_path)
    raw = pq.ParquetFile(tmp_path / "data/raw/rows.parquet")
    assert [raw.metadata.row_group(group).num_rows for group in range(raw.num_row_groups)] == [1, 2, 3]


def test_the_same_drops_give_the_same_bytes_in_any_folder(tmp_path: Path) -> None:
    seals = []
    for place in ("here", "there"):
        put(tmp_path / place, "a.parquet", PARQUET_DROP)
        put(tmp_path / place, "b.csv", HEADER + ROW)
        ingested(tmp_path / place)
        seals.append((tmp_path / place / "data/raw/manifest.json").read_bytes())
    assert seals[0] == seals[1]
    put(tmp_path / "there", "b.csv", HEADER + ROW.replace("red", "blue"))
    ingested(tmp_path / "there")
    assert (tmp_path / "there/data/raw/manifest.json").read_bytes() != seals[0]


def test_columns_keep_the_files_own_type_where_all_drops_agree(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        put(tmp_path, name, PARQUET_DROP.append_column("family", pa.array([5], pa.uint16())))
    table = ingested(tmp_path)
    assert table.schema.field("id").type == pa.int64()
    assert table.schema.field("family").type == pa.int64()
    assert table.schema.field("note").type == pa.string()


def test_leading_zeros_of_an_identifier_survive(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", HEADER + ROW.replace("7,", "007,", 1))
    assert ingested(tmp_path)["id"].to_pylist() == ["007"]


def test_a_time_split_makes_its_column_a_moment(tmp_path: Path) -> None:
    split = {"kind": "time", "column": "family", "validation": "2013-09-01", "test": "2013-11-01"}
    put(tmp_path, "a.csv", HEADER + ROW.replace("f1", "2013-01-01"))
    assert ingested(tmp_path, split=split).schema.field("family").type == MOMENT
    with pytest.raises(ParamsError, match=r"split\.column: 'temp' is double under columns\.temp; a time split needs"):
        ingested(tmp_path, split=split | {"column": "temp"})


def test_the_needed_columns_are_those_of_the_project() -> None:
    for split in (PARAMS["split"], {"kind": "random"}, {"kind": "column", "column": "side_of"}):
        whole = project(split=split)
        assert list(needs(whole.data, whole.columns, whole.tasks, whole.split)) == whole.needed_columns


def test_a_column_that_no_drop_holds_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", HEADER.replace("temp", "tmp").replace("note", " Note ") + ROW)
    with pytest.raises(ParamsError) as caught:
        ingested(tmp_path)
    assert str(caught.value).splitlines() == [
        "params.yaml: columns.temp: no file in data/incoming/ holds column 'temp'; did you mean 'tmp'?",
        "params.yaml: data.keep: no file in data/incoming/ holds column 'note'; did you mean ' Note '?",
    ]


def test_a_needed_column_of_lists_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", PARQUET_DROP.append_column("family", pa.array([[1]])))
    with pytest.raises(DataError, match=r"a\.parquet: column 'family' holds list<"):
        ingested(tmp_path)


def test_a_refused_drop_leaves_the_earlier_table_as_it_was(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", HEADER + ROW)
    ingested(tmp_path)
    before = (tmp_path / "data/raw/rows.parquet").read_bytes()
    put(tmp_path, "b.csv", HEADER + ROW + ROW.replace("1.5", "1.5 C"))
    with pytest.raises(DataError, match=r"b\.csv: column 'temp': 1 of 2 values are not numbers: row 2 '1\.5 C'"):
        ingested(tmp_path)
    check_seal(tmp_path / "data/raw")
    assert (tmp_path / "data/raw/rows.parquet").read_bytes() == before
    assert {path.name for path in (tmp_path / "data/raw").iterdir()} == {"rows.parquet", "manifest.json"}


def test_a_folder_without_drops_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"put a Parquet or CSV file into data/incoming/, or set data\.source\.kind"):
        stages.ingest(tmp_path, project())
    for name in ("README.md", ".hidden.csv", "half.csv.tmp"):
        put(tmp_path, name, "no table")
    with pytest.raises(DataError, match="holds no data"):
        stages.ingest(tmp_path, project())
    put(tmp_path, "a.csv", HEADER + ROW)
    assert [path.name for path in find_drops(tmp_path / "data/incoming")] == ["a.csv"]


# --- one column -------------------------------------------------------------------------------------------


def converted(values: list[Any], kind: pa.DataType, wanted: pa.DataType) -> list[Any]:
    result = convert(pa.chunked_array([pa.array(values, kind)]), wanted, "f.csv: column 'x'")
    assert result.type == wanted
    return list(result.to_pylist())


INF, NAN = float("inf"), float("nan")
TEN = dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("kind", "values", "wanted", "result"),
    [
        (TEXT, ["1", "-1.5e3", ".5", "", "nan", "-Infinity", None], NUMBER, [1, -1500, 0.5, None, None, None, None]),
        (pa.float64(), [1.5, NAN, INF, -INF, None], NUMBER, [1.5, None, None, None, None]),
        (pa.float16(), [1.5], NUMBER, [1.5]),
        (pa.uint8(), [200, None], NUMBER, [200, None]),
        (pa.bool_(), [True, None], NUMBER, [1, None]),
        (pa.decimal128(9, 2), [Decimal("-1.25"), None], NUMBER, [-1.25, None]),
        (pa.null(), [None], NUMBER, [None]),
        (TEXT, ["true", "False", "1", "0", "0.0", "", None], TRUTH, [True, False, True, False, False, None, None]),
        (TEXT, ["yes", "No", "NO", None], TRUTH, [True, False, False, None]),
        (pa.int64(), [0, 1, None], TRUTH, [False, True, None]),
        (pa.float64(), [0, 1, NAN], TRUTH, [False, True, None]),
        (pa.int8(), [3, None], TEXT, ["3", None]),
        (pa.float64(), [3, 3.5, 1e15, NAN], TEXT, ["3", "3.5", "1000000000000000", None]),
        (pa.float32(), [0.1], TEXT, ["0.1"]),
        (pa.bool_(), [True], TEXT, ["true"]),
        (TEXT, ["", " ", "NA", "nan"], TEXT, [None, " ", "NA", "nan"]),
        (pa.large_string(), ["x"], TEXT, ["x"]),
        (pa.binary(), ["ß".encode()], TEXT, ["ß"]),
        (pa.dictionary(pa.int8(), pa.string()), ["x", None], TEXT, ["x", None]),
        (pa.uint64(), [2**64 - 1], TEXT, ["18446744073709551615"]),
        (pa.timestamp("ns"), [TEN.replace(tzinfo=None)], TEXT, ["2013-01-01T10:00:00Z"]),
        (pa.date32(), [TEN.date()], TEXT, ["2013-01-01"]),
        (TEXT, ["2013-01-01T10:00Z", "2013-01-01 10:00:00", "2013-01-01T05:00:00.000-05:00"], MOMENT, [TEN] * 3),
        (TEXT, ["2013-01-01", "", "1969-12-31T23:59:59Z"], MOMENT,
         [TEN.replace(hour=0), None, dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC)]),
        (TEXT, ["2013-01-01T10:00:00.25", "2013-01-01T10:00:00.1234567Z"], MOMENT,
         [TEN.replace(microsecond=250_000), TEN.replace(microsecond=123_456)]),
        (pa.int32(), [1357034400, None], MOMENT, [TEN, None]),
        (pa.timestamp("ms", "America/New_York"), [TEN], MOMENT, [TEN]),
        (pa.timestamp("s"), [TEN.replace(tzinfo=None)], MOMENT, [TEN]),
        (pa.date64(), [TEN.date()], MOMENT, [TEN.replace(hour=0)]),
        (pa.uint8(), [3, None], WHOLE, [3, None]),
    ],
)  # fmt: skip
def test_values_become_the_declared_type(
    kind: pa.DataType, values: list[Any], wanted: pa.DataType, result: list[Any]
) -> None:
    assert converted(values, kind, wanted) == result


@pytest.mark.parametrize(
    ("kind", "values", "wanted", "words"),
    [
        (TEXT, ["1", "1,234", "12abc"], NUMBER, "2 of 3 values are not numbers: row 2 '1,234', row 3 '12abc'; write"),
        (TEXT, [" 1", "1 ", "0x1f", "1_000", "٣", "1e"], NUMBER, "6 of 6 values are not numbers: row 1 ' 1'"),
        (pa.date32(), [TEN.date()], NUMBER, "declare the column as kind: timestamp"),
        (TEXT, ["y", "true", "2", "no"], TRUTH, "2 of 4 values are neither true/false, yes/no nor 0/1: row 1 'y'"),
        (pa.int64(), [0, 2, None], TRUTH, "1 of 3 values are neither true/false, yes/no nor 0/1: row 2 2"),
        (TEXT, ["nan"], TRUTH, "row 1 'nan'"),
        (pa.binary(), [b"\xff"], TEXT, "binary cannot become string"),
        (TEXT, ["1357034400", "20130101", "2013-02-30", "01/02/2013", "2013-01-01T24:00"], MOMENT, "5 of 5 values are"),
        (TEXT, ["0000-01-01"], MOMENT, "outside the years 1 to 9999"),
        (pa.int64(), [1357034400000], MOMENT, "row 1 1357034400000; whole numbers are read as seconds since 1970"),
        (pa.timestamp("s"), [2**62], MOMENT, "outside the years 1 to 9999"),
        (pa.float64(), [1.0], MOMENT, "double cannot be moments"),
        (pa.bool_(), [True], MOMENT, "bool cannot be moments"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_rows_and_count(
    kind: pa.DataType, values: list[Any], wanted: pa.DataType, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        converted(values, kind, wanted)
    assert str(caught.value).startswith("f.csv: column 'x': ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_in_a_number_column_is_found_however_late_it_comes() -> None:
    with pytest.raises(DataError, match=r"1 of 150001 values are not numbers: row 150001 'oops'"):
        converted([*["1"] * 150_000, "oops"], TEXT, NUMBER)


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.time32("s"), pa.duration("s")])
def test_types_without_plain_values_have_no_family(kind: pa.DataType) -> None:
    assert family(kind) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62), min_size=1))
def test_a_number_written_as_text_is_read_back_exactly(values: list[float]) -> None:
    assert converted([repr(value) for value in values], TEXT, NUMBER) == [float(value) for value in values]


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MOMENTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=ZONES)


@settings(max_examples=200, deadline=None)
@given(st.lists(MOMENTS, min_size=1))
def test_a_moment_written_as_iso_8601_is_read_back_exactly(moments: list[dt.datetime]) -> None:
    assert converted([moment.isoformat() for moment in moments], TEXT, MOMENT) == moments
