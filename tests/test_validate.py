from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import drops
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import world
from drops import NEW, few, lay, sample, take_in

from benchmarks.replay.spoil import Change, flipped, nulls, put, rename, rows_where, sometimes, times, twice, year_later
from trunkline import stages
from trunkline.errors import DataError, ParamsError, TrunklineError
from trunkline.files import check_seal, sha256
from trunkline.project import parse_project

FIRST, SECOND = "flights-2013-01.parquet", "flights-2013-02.parquet"


def refused(root: Path, project: Any, kind: type[TrunklineError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        take_in(root, project)
    assert not (root / stages.VALIDATED).exists()
    return str(caught.value)


def report(root: Path) -> Any:
    return json.loads((root / "reports/validation.json").read_text())


def contradict(table: pa.Table) -> pa.Table:
    spoilt = rows_where(table, 0.3)
    table = put(table, "arr60", pc.if_else(spoilt, True, table["arr60"]))
    return put(table, "arr15", pc.if_else(spoilt, False, table["arr15"]))


# --- what passes ------------------------------------------------------------------------------------------


def test_good_drops_pass_as_they_are_and_give_the_same_bytes_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = few()
    lay(tmp_path, {FIRST: sample(1), SECOND: sample(3), NEW: year_later(sample(1))})
    take_in(tmp_path, project)
    raw = pq.read_table(tmp_path / "data/raw/rows.parquet")
    validated = pq.ParquetFile(tmp_path / "data/validated/rows.parquet", page_checksum_verification=True)
    assert validated.read().equals(raw)
    assert [validated.metadata.row_group(at).num_rows for at in range(3)] == [1500] * 3
    manifest = check_seal(tmp_path / "data/validated")
    assert manifest["rows"] == 4500 and [drop["name"] for drop in manifest["drops"]] == [FIRST, SECOND, NEW]
    assert capfd.readouterr() == ("", "")

    written = [*(tmp_path / "data/validated").iterdir(), *(tmp_path / "reports").iterdir()]
    before = {path.name: sha256(path) for path in written}
    stages.validate(tmp_path, project)
    assert {path.name: sha256(path) for path in written} == before
    assert len(before) == 5


def test_columns_in_another_order_pass(tmp_path: Path) -> None:
    table = year_later(sample(1))
    lay(tmp_path, {FIRST: sample(1), NEW: table.select(table.column_names[::-1])})
    take_in(tmp_path, few())


def test_every_input_kind_and_task_kind_is_judged(tmp_path: Path) -> None:
    columns = {"age": {"kind": "numeric", "min": 0, "max": 120, "on_failure": "quarantine"}}
    content = world.params(columns=columns, validation={"min_rows": 1, "quarantine_limit": 0.5})
    lay(tmp_path, {"a.parquet": world.rows(3000), "b.parquet": _other_ids(world.rows(3000, seed=1))})
    take_in(tmp_path, parse_project(content))
    asked = {(rule["column"], rule["setting"]) for rule in report(tmp_path)["rules"]}
    assert {("plan_name", "validation.drift.odds"), ("spent", "validation.drift.spreads")} <= asked
    assert {("since", "columns.since"), ("city", "validation.drift.unseen"), ("age", "columns.age")} <= asked


def _other_ids(table: pa.Table) -> pa.Table:
    return put(table, "id", pa.array([f"other {row}" for row in range(len(table))]))


def test_moments_to_come_pass_where_the_project_says_so_and_the_clock_leaves_no_trace(tmp_path: Path) -> None:
    centuries = pa.scalar(timedelta(days=365 * 900), pa.duration("us"))
    lay(tmp_path, {FIRST: put(sample(1), "time_hour", pc.add(sample(1)["time_hour"], centuries))})
    take_in(tmp_path, few(future_days=None))
    lay(tmp_path, {FIRST: sample(1)})
    take_in(tmp_path, few())
    (line,) = (rule for rule in report(tmp_path)["rules"] if rule["setting"] == "validation.future_days")
    assert (line["expected"], line["seen"]) == ("no moment in the future", "")


# --- rows set aside ---------------------------------------------------------------------------------------


def test_the_absurd_wind_of_february_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    february = drops.months()[SECOND]
    absurd = february.filter(pc.greater(february["wind_speed"], 1000))
    some = sample(2, 5000)
    calm = some.filter(pc.less(pc.fill_null(some["wind_speed"], 0), 1000))
    lay(tmp_path, {SECOND: pa.concat_tables([calm, absurd])})
    take_in(tmp_path, few())
    aside = pq.read_table(tmp_path / "data/validated/quarantine.parquet")
    assert len(aside) == 32
    assert set(aside["origin"].to_pylist()) == {"EWR"}
    assert {str(moment) for moment in aside["time_hour"].to_pylist()} == {"2013-02-12 11:00:00+00:00"}
    assert set(aside["reason"].to_pylist()) == {"wind_speed 1048.36058 is above 150"}
    kept = pq.read_table(tmp_path / "data/validated/rows.parquet")
    assert pc.max(kept["wind_speed"]).as_py() < 150
    assert kept.schema.names == [name for name in aside.schema.names if name != "reason"]
    assert report(tmp_path)["rows"] == {"read": len(kept) + 32, "passed": len(kept), "set_aside": 32}


def test_a_row_with_two_faults_is_set_aside_once_with_both_reasons(tmp_path: Path) -> None:
    table = sample(1)
    bad = pa.array(np.arange(len(table)) == 7)
    for column in ("wind_speed", "distance"):
        table = put(table, column, pc.if_else(bad, -4.0, table[column].cast(pa.float64())))
    lay(tmp_path, {FIRST: table})
    take_in(tmp_path, few(on_failure="quarantine"))
    aside = pq.read_table(tmp_path / "data/validated/quarantine.parquet")
    assert aside["reason"].to_pylist() == ["distance -4 is below 1; wind_speed -4 is below 0"]


def test_too_many_rows_to_set_aside_stop_the_run(tmp_path: Path) -> None:
    lay(tmp_path, {FIRST: times("wind_speed", 1000)(sample(1))})
    said = refused(tmp_path, few())
    assert f"{FIRST}, column 'wind_speed': expected 0 to 150, and at most 1.0 % of the rows set aside" in said
    assert "validation.quarantine_limit" in said and "rules broken" not in said


def test_a_drop_whose_rows_are_all_set_aside_has_too_few_rows(tmp_path: Path) -> None:
    windy = year_later(sample(1).filter(pc.greater(sample(1)["wind_speed"], 1)))
    lay(tmp_path, {FIRST: sample(1), NEW: times("wind_speed", 1000)(windy)})
    said = refused(tmp_path, few(quarantine_limit=1.0, on_failure="quarantine"))
    assert re.search(f"- {NEW}: expected at least 1 row; found \\d+ rows", said), said


# --- drops that are refused -------------------------------------------------------------------------------

POISONS: dict[str, tuple[Change, str]] = {
    "all null": (nulls("temp"), "column 'temp': .*100 % missing in 1,500 of 1,500 rows"),
    "seconds for minutes": (times("arr_delay", 60), r"column 'arr_delay': expected -200 to 2000; .* of 1,500 rows"),
    "contradiction": (contradict, r"columns 'arr60', 'arr15': .* in \d+ of 1,500 rows \((28|29|30|31)\.\d %\)"),
    "times 1000": (times("distance", 1000), r"column 'distance': expected 1 to 12000; .* 1,500 of 1,500 rows"),
    "no target": (
        lambda table: table.drop_columns(["arr15"]),
        "column 'arr15': expected the column; found none; .* in 1,500 of 1,500 rows",
    ),
    "renamed": (
        rename("temp", "temperature"),
        "column 'temp': .*the file holds 'temperature', which nothing needs: renamed.*1,500 of 1,500 rows",
    ),
    "new words": (
        lambda table: put(table, "carrier", pc.utf8_lower(table["carrier"])),
        "column 'carrier': expected at most 25.0 % of the words new; .*'ua'.* 1,500 of 1,500 rows",
    ),
    "doubled rows": (twice, "columns 'time_hour', .* key of another row of this drop in 750 of 2,250 rows"),
    "flipped labels": (
        flipped("cancelled", 0.5),
        r"column 'cancelled': expected true in .*; found true in [45]\d\.\d % \(1,500 rows\)",
    ),
    "absurd target": (
        sometimes("arr_delay", pa.scalar(9e300)),
        "column 'arr_delay': expected -200 to 2000; found",
    ),
    "word not allowed": (
        lambda table: put(table, "origin", pc.replace_substring(table["origin"], "LGA", "LaG")),
        "column 'origin': expected one of EWR, JFK, LGA; found 'LaG' in",
    ),
    "in the future": (
        sometimes("time_hour", pa.scalar(datetime(2933, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC"))),
        r"column 'time_hour': expected no moment in the future; found '2933-01-01T00:00:00Z' in \d+ of",
    ),
    "key missing": (
        sometimes("flight", pa.scalar(None, pa.int64())),
        "column 'flight': expected a value in every row; found nothing in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("poison", POISONS)
def test_a_spoilt_drop_is_refused_by_file_column_and_count(tmp_path: Path, poison: str) -> None:
    change, sentence = POISONS[poison]
    lay(tmp_path, {FIRST: sample(1), NEW: change(year_later(sample(1, seed=1)))})
    said = refused(tmp_path, few())
    assert re.search(f"- {NEW}.*{sentence}", said), said
    assert "remove or mend the file in data/incoming/" in said
    assert "data/split and everything after it are as the last good run left them" in said
    content = report(tmp_path)
    assert not content["passed"]
    assert {drop["name"]: drop["status"] for drop in content["drops"]} == {FIRST: "passed", NEW: "failed"}
    assert NEW in (tmp_path / "reports/validation.html").read_text()


def test_what_an_earlier_run_let_pass_does_not_stay_behind_a_refusal(tmp_path: Path) -> None:
    lay(tmp_path, {FIRST: sample(1)})
    take_in(tmp_path, few())
    lay(tmp_path, {NEW: nulls("temp")(year_later(sample(1)))})
    refused(tmp_path, few())


def test_the_first_ten_rows_are_named_by_their_keys(tmp_path: Path) -> None:
    lay(tmp_path, {FIRST: times("distance", 1000)(sample(1))})
    shown = [line for line in refused(tmp_path, few()).splitlines() if line.startswith("    ")]
    assert len(shown) == 10
    pattern = r"    time_hour 2013-01-\d\dT\d\d:00:00Z, carrier \w\w, flight \d+, origin \w{3}: distance \d+000"
    assert all(re.fullmatch(pattern, line) for line in shown)


def test_a_key_that_two_drops_share_names_both(tmp_path: Path) -> None:
    lay(tmp_path, {FIRST: sample(1), NEW: pa.concat_tables([sample(1).slice(0, 100), year_later(sample(3, 900))])})
    assert f"- {NEW}, columns 'time_hour'" in (said := refused(tmp_path, few()))
    assert f"found the key of a row of {FIRST} in 100 of 1,000 rows (10.0 %)" in said


def test_implications_do_not_count_rows_that_lack_a_label(tmp_path: Path) -> None:
    table = sample(1)
    lay(tmp_path, {FIRST: put(table, "arr15", pc.if_else(table["arr60"], None, table["arr15"]))})
    take_in(tmp_path, few(drift={"min_rows": 10_000}, leaks={"min_rows": 2000}))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"min_rows": 5000}, "whole table: expected at least 5,000 rows; found 1,500 rows [validation.min_rows]"),
        (
            {"min_drop_rows": 2000},
            f"{FIRST}: expected at least 2,000 rows; found 1,500 rows [validation.min_drop_rows]",
        ),
        ({"min_class_rows": 600}, "column 'cancelled': expected at least 600 rows where it is true; found"),
    ],
)
def test_too_few_rows_are_refused(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    lay(tmp_path, {FIRST: sample(1)})
    assert sentence in refused(tmp_path, few(**settings))


def test_a_target_with_one_value_is_refused(tmp_path: Path) -> None:
    table = sample(1)
    lay(tmp_path, {FIRST: put(table, "arr_delay", pc.if_else(pc.is_valid(table["arr_delay"]), 7, None))})
    said = refused(tmp_path, few())
    assert "whole table, column 'arr_delay': expected two different values or more; found 1 different value" in said


def test_a_share_of_missing_values_that_was_declared_is_a_limit(tmp_path: Path) -> None:
    content = drops.params(min_class_rows=1)
    content["columns"] = {"wind_gust": {"kind": "numeric", "max_missing": 0.5}}
    content["validation"]["expectations"] = []
    lay(tmp_path, {FIRST: sample(1)})
    said = refused(tmp_path, parse_project(content))
    assert re.search(r"'wind_gust': expected at most 50.0 % missing; found \d\d.\d % missing in", said)
    assert "[columns.wind_gust.max_missing]" in said


def test_after_twelve_broken_rules_the_message_points_to_the_report(tmp_path: Path) -> None:
    lay(tmp_path, {FIRST: sample(1, 200)} | {f"x{at}.parquet": sample(1, 200) for at in range(14)})
    said = refused(tmp_path, few(min_rows=1, min_class_rows=1))
    assert said.count("\n- ") == 12
    assert "and 2 more in reports/validation.html" in said


# --- the user's own expectations --------------------------------------------------------------------------


def own(kind: str, on_failure: str | None = None, **kwargs: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "kwargs": kwargs} | ({"on_failure": on_failure} if on_failure else {})]


BETWEEN = "expect_column_values_to_be_between"


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (own("expect_column_values_to_be_betwen", column="temp"), f".type: .*did you mean '{BETWEEN}'"),
        (own("nonsense", column="temp"), "'nonsense' is unknown; the names are those of Great Expectations"),
        (own(BETWEEN, column="temp", min_valu=1), "kwargs.min_valu: is not an argument .*did you mean 'min_value'"),
        (own(BETWEEN, column="tmp", min_value=1), "column 'tmp' is not read; did you mean 'temp'"),
        (own(BETWEEN, column="temp", min_value="warm"), "kwargs.min_value: value is not a valid float"),
        (own(BETWEEN, min_value=1), "kwargs.column: field required"),
        (
            own("expect_column_mean_to_be_between", "quarantine", column="temp", min_value=1),
            "names no rows to set aside",
        ),
        (own(BETWEEN, column="temp", min_value=5, max_value=1), f"could not check {BETWEEN} .*cannot be greater than"),
        (own(BETWEEN, column="carrier", min_value=5), f"{FIRST}, column 'carrier': could not check"),
    ],
)
def test_an_expectation_that_means_nothing_is_a_fault_of_params(
    tmp_path: Path, rules: list[dict[str, Any]], sentence: str
) -> None:
    lay(tmp_path, {FIRST: sample(1, 1000)})
    said = refused(tmp_path, few(expectations=rules), ParamsError)
    assert re.search(f"params.yaml: validation.expectations.0.*{sentence}", said), said


def test_own_expectations_judge_rows_and_columns(tmp_path: Path) -> None:
    rules = [
        *own("expect_column_values_to_match_regex", column="carrier", regex="^[A-Z]{2}$"),
        *own("expect_column_mean_to_be_between", column="temp", max_value=2),
        *own("expect_column_values_to_be_in_set", column="arr15", value_set=[True, False]),
    ]
    lay(tmp_path, {FIRST: sample(1)})
    said = refused(tmp_path, few(expectations=rules))
    assert re.search(
        r"'carrier': expected .*regex \^\[A-Z\]\{2\}\$\) to hold; found rows that break it in \d+ of", said
    )
    assert re.search(r"'temp': expected expect_column_mean_to_be_between \(max_value 2\) to hold; found 3\d\.", said)
    assert "2 rules broken" in said


def test_own_expectations_compare_moments_with_dates_and_set_rows_aside(tmp_path: Path) -> None:
    rules = own(BETWEEN, "quarantine", column="time_hour", max_value="2013-01-31")
    lay(tmp_path, {FIRST: sample(1)})
    take_in(tmp_path, few(expectations=rules, quarantine_limit=0.1))
    aside = pq.read_table(tmp_path / "data/validated/quarantine.parquet")
    assert 10 < len(aside) < 100
    assert pc.min(aside["time_hour"]).as_py().isoformat() >= "2013-01-31"
    assert aside["reason"][0].as_py().endswith(f"Z breaks {BETWEEN}")


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_escapes_names_and_needs_no_script_and_no_host(tmp_path: Path) -> None:
    name = "<b>&'x.parquet"
    lay(tmp_path, {name: put(sample(1, 1000), "carrier", pa.array(["<script>alert(1)</script>"] * 1000))})
    refused(tmp_path, few(expectations=own("expect_column_values_to_match_regex", column="carrier", regex="^..$")))
    text = (tmp_path / "reports/validation.html").read_text()
    assert "<script" not in text and "<b>&" not in text
    assert "&lt;b&gt;&amp;&#39;x.parquet" in text and "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert not re.search(r"https?:|src=|@import|url\(", text)
