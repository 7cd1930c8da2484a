from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from trunkline import stages
from trunkline.data.declarations import Split
from trunkline.data.rows import write_rows
from trunkline.data.split import assign_sides, encode_keys
from trunkline.errors import ArtifactError, DataError, ParamsError
from trunkline.files import check_seal, seal
from trunkline.project import Project, parse_project


def declared(**content: Any) -> Split:
    split: Split = TypeAdapter(Split).validate_python(content)
    return split


def sides(table: pa.Table, key: list[str], seed: int = 0, **content: Any) -> list[str]:
    return list(assign_sides(table, declared(**content), key, seed).to_pylist())


BASE = pa.table({"name": [f"n{row}" for row in range(300)], "part": list(range(300))})
TIME = {"kind": "time", "column": "at", "validation": "2013-09-01", "test": "2013-11-01"}


def at(*moments: dt.datetime | None) -> pa.Table:
    return pa.table({"id": list(range(len(moments))), "at": pa.array(moments, pa.timestamp("us", "UTC"))})


def utc(*moment: int) -> dt.datetime:
    return dt.datetime(*moment, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


# --- by time ----------------------------------------------------------------------------------------------


def test_a_time_split_puts_each_boundary_on_its_later_side() -> None:
    table = at(
        utc(2013, 8, 31, 23, 59, 59, 999_999), utc(2013, 9, 1), utc(2013, 10, 31, 23), utc(2013, 11, 1), utc(2020, 1, 1)
    )
    assert sides(table, ["id"], **TIME) == ["train", "validation", "validation", "test", "test"]


def test_boundaries_may_name_an_hour_and_a_zone() -> None:
    bounds = {"validation": "2013-09-01T06:00", "test": "2013-09-01T14:00+02:00"}
    table = at(utc(2013, 9, 1, 5, 59), utc(2013, 9, 1, 6), utc(2013, 9, 1, 11, 59), utc(2013, 9, 1, 12))
    assert sides(table, ["id"], **TIME | bounds) == ["train", "validation", "validation", "test"]


def test_a_row_without_a_moment_is_refused() -> None:
    with pytest.raises(DataError, match=r"2 of 3 rows have no 'at', so no side; the first is id=1"):
        sides(at(utc(2013, 1, 1), None, None), ["id"], **TIME)


def test_an_empty_side_is_refused_with_the_range_of_the_column() -> None:
    with pytest.raises(DataError) as caught:
        sides(at(utc(2013, 1, 1), utc(2013, 9, 30, 12)), ["id"], **TIME)
    assert "no row falls on side test; column 'at' runs from 2013-01-01T00:00:00Z to 2013-09-30T12:00:00Z" in str(
        caught.value
    )
    assert "test at 2013-11-01" in str(caught.value)


def test_a_key_on_two_sides_is_refused() -> None:
    table = at(utc(2013, 1, 1), utc(2013, 9, 30), utc(2013, 12, 1)).set_column(0, "id", pa.array([7, 8, 7]))
    with pytest.raises(DataError, match=r"1 keys stand on more than one side, the first is id=7"):
        sides(table, ["id"], **TIME)


# --- by lengths counted back from the newest row -----------------------------------------------------------


def bounds(newest: dt.datetime, **content: str) -> list[str | None]:
    split: Any = declared(kind="time", column="at", **{"validation": "2 months", "test": "1 month"} | content)
    return [start and start[:16] for start in split.bounds(newest).as_json().values()]


@pytest.mark.parametrize(
    ("newest", "content", "train", "validation", "test"),
    [
        (utc(2013, 12, 31, 23), {}, None, "2013-10-01", "2013-12-01"),
        (utc(2013, 12, 15), {}, None, "2013-10-01", "2013-12-01"),
        (utc(2013, 12, 1), {}, None, "2013-10-01", "2013-12-01"),
        (utc(2014, 1, 1), {}, None, "2013-11-01", "2014-01-01"),
        (utc(2013, 12, 15), {"train": "12 months"}, "2012-10-01", "2013-10-01", "2013-12-01"),
        (utc(2013, 12, 15), {"train": "2012-06-05"}, "2012-06-05", "2013-10-01", "2013-12-01"),
        (utc(2013, 3, 31), {"validation": "1 day", "test": "1 day"}, None, "2013-03-30", "2013-03-31"),
        (utc(2013, 3, 31), {"validation": "1 month", "test": "1 day"}, None, "2013-02-28", "2013-03-31"),
        (utc(2012, 3, 31), {"validation": "1 month", "test": "1 day"}, None, "2012-02-29", "2012-03-31"),
        (utc(2012, 2, 29), {"validation": "1 year", "test": "1 day"}, None, "2011-02-28", "2012-02-29"),
        (utc(2012, 2, 29), {"validation": "4 years", "test": "1 day"}, None, "2008-02-29", "2012-02-29"),
        (utc(2012, 2, 29), {"validation": "1 year", "test": "1 year"}, None, "2011-01-01", "2012-01-01"),
        (utc(2013, 12, 31), {"validation": "2 weeks", "test": "1 week"}, None, "2013-12-16", "2013-12-30"),
        (utc(2013, 12, 29), {"validation": "2 weeks", "test": "1 week"}, None, "2013-12-09", "2013-12-23"),
        (utc(2013, 1, 15), {"validation": "10 days", "test": "1 month", "train": "3 weeks"}, "2012-12-01",
         "2012-12-22", "2013-01-01"),
    ],
)  # fmt: skip
def test_lengths_are_units_of_the_calendar_back_from_the_newest_row(
    newest: dt.datetime, content: dict[str, str], train: str | None, validation: str, test: str
) -> None:
    wanted = [start and f"{start}T00:00" for start in (train, validation, test)]
    assert bounds(newest, **content) == wanted


def test_the_calendar_is_that_of_the_zone_that_was_named() -> None:
    evening = utc(2014, 1, 1, 4)  # 23:00 on the last of December in New York
    assert bounds(evening, timezone="America/New_York") == [None, "2013-10-01T00:00", "2013-12-01T00:00"]
    assert bounds(evening) == [None, "2013-11-01T00:00", "2014-01-01T00:00"]
    split: Any = declared(**TIME | {"validation": "1 month", "test": "1 month", "timezone": "America/New_York"})
    found = split.bounds(utc(2013, 4, 2))  # summer time began on 10 March
    assert str(found) == "validation from 2013-03-01T00:00:00-05:00, test from 2013-04-01T00:00:00-04:00"


def test_a_length_before_a_moment_says_how_far_back_training_rows_go() -> None:
    found = bounds(utc(2000, 1, 1), validation="2013-09-01", test="2013-11-01", train="3 months")
    assert found == ["2013-06-01T00:00", "2013-09-01T00:00", "2013-11-01T00:00"]


MOMENTS = st.datetimes(dt.datetime(1999, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC))
LENGTHS = st.builds(
    lambda count, unit: f"{count} {unit}{'s' * (count > 1)}",
    st.integers(1, 30),
    st.sampled_from(["day", "week", "month", "year"]),
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(MOMENTS, min_size=1, max_size=30),
    train=st.none() | LENGTHS,
    validation=LENGTHS,
    test=LENGTHS,
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
)
def test_the_sides_part_the_rows_in_the_order_of_time(
    rows: list[dt.datetime], train: str | None, validation: str, test: str, zone: str
) -> None:
    split: Any = declared(kind="time", column="at", train=train, validation=validation, test=test, timezone=zone)
    found = split.bounds(max(rows))
    starts = [*found.starts]
    assert starts == sorted(starts) and len({*starts}) == 3
    assert found.test <= max(rows)  # the newest row judges
    filled = [*rows, *starts[1:], found.validation - dt.timedelta(microseconds=1)]
    given = sides(at(*filled), ["id"], **split.model_dump(exclude_none=True))
    order = {None: 0, "train": 1, "validation": 2, "test": 3}
    placed = [order[side] for _, side in sorted(zip(filled, given, strict=True), key=lambda pair: pair[0])]
    assert placed == sorted(placed)
    assert train or None not in given


def test_new_rows_move_the_windows_and_older_ones_do_not() -> None:
    content = TIME | {"train": "2 months", "validation": "1 month", "test": "1 month"}
    monthly = [utc(2013, month, 10) for month in range(1, 7)]
    assert sides(at(*monthly[:5]), ["id"], **content) == [None, "train", "train", "validation", "test"]
    assert sides(at(*monthly), ["id"], **content) == [None, None, "train", "train", "validation", "test"]
    assert sides(at(*monthly, utc(2001, 1, 1)), ["id"], **content)[:6] == sides(at(*monthly), ["id"], **content)


def test_a_key_that_has_no_part_in_one_row_stands_on_no_other_side() -> None:
    table = at(utc(2001, 1, 1), utc(2013, 3, 1), utc(2013, 4, 1), utc(2013, 5, 1))
    table = table.set_column(0, "id", pa.array([7, 8, 9, 7]))
    content = TIME | {"train": "1 month", "validation": "1 month", "test": "1 month"}
    assert sides(table, ["id"], **content) == [None, "train", "validation", "test"]


def test_a_stray_newest_row_that_leaves_a_side_empty_is_named() -> None:
    table = at(*[utc(2013, month, 10) for month in range(1, 7)], utc(2033, 1, 1))
    with pytest.raises(
        DataError, match=r"no row falls on side validation; .* the newest row is id=6, so that test: 1 month"
    ):
        sides(table, ["id"], **TIME | {"validation": "1 month", "test": "1 month"})
    table = at(*[utc(2013, month, 10) for month in range(1, 7)], utc(9999, 12, 31))
    with pytest.raises(DataError, match=r"the newest .at. is 9999-12-31.*remove or mend that row, or shorten them"):
        sides(table, ["id"], **TIME | {"validation": "1 month", "test": "1 month"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": "2 months"}, "are a moment and a length; give two moments, or two lengths"),
        ({"test": "1 month"}, "are a moment and a length"),
        ({"test": "0 months"}, "'0 months' is no date or moment; .* or a length like '10 days', '2 weeks', '1 month'"),
        ({"test": "1 hour"}, "'1 hour' is no date or moment"),
        ({"train": "2013-09-01"}, r"train \(2013-09-01\) must lie before validation"),
        ({"train": ""}, "'' is no date or moment"),
        ({"train": dt.date(2013, 1, 1)}, "in quotes, '2013-01-01'"),
        ({"timezone": "Europe/Berlin"}, "is the calendar of lengths such as '1 month', and there is none"),
        ({"validation": "1 day", "test": "1 day", "timezone": "Mars"}, "'Mars' is no time zone"),
        ({"validation": "1 day", "test": "1 day", "timezone": "../x"}, "'../x' is no time zone"),
    ],
)
def test_windows_that_mean_nothing_are_refused_in_a_line(changes: dict[str, Any], said: str) -> None:
    content = project({"kind": "random"}).model_dump()
    with pytest.raises(
        ParamsError, match=rf"^params.yaml: split: .*{said}|^params.yaml: split\.\w+: .*{said}"
    ) as caught:
        parse_project({**content, "split": TIME | changes})
    assert "\n" not in str(caught.value)


# --- by chance --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    added=st.lists(st.tuples(st.text(max_size=4), st.none() | st.integers(0, 9))),
    order=st.integers(0, 99),
    kind=st.sampled_from(["random", "group"]),
)
def test_a_row_keeps_its_side_whatever_rows_stand_beside_it(added: list[Any], order: int, kind: str) -> None:
    split = {"kind": kind} | ({"columns": ["name"]} if kind == "group" else {})
    before = sides(BASE, ["name", "part"], **split)
    more = pa.Table.from_pylist([{"name": name, "part": part} for name, part in added], schema=BASE.schema)
    places = np.random.default_rng(order).permutation(len(BASE) + len(added)).tolist()
    shuffled = pa.concat_tables([BASE, more]).take(places)
    after = dict(zip(places, sides(shuffled, ["name", "part"], **split), strict=True))
    assert [after[row] for row in range(len(BASE))] == before


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(st.sampled_from("abcdefghijklmnop"), max_size=60), seed=st.integers(0, 5))
def test_no_group_stands_on_two_sides(groups: list[str], seed: int) -> None:
    names = [*BASE["name"].to_pylist(), *groups]
    table = pa.table({"name": names, "row": list(range(len(names)))})
    found = sides(table, ["row"], seed, kind="group", columns=["name"])
    assert all(count == 1 for count in Counter(name for name, _ in set(zip(names, found, strict=True))).values())


@pytest.mark.parametrize("kind", ["random", "group"])
def test_the_shares_are_near_those_asked_for(kind: str) -> None:
    table = pa.table({"id": list(range(20_000))})
    split = {"kind": kind, "validation": 0.1, "test": 0.3} | ({"columns": ["id"]} if kind == "group" else {})
    found = Counter(sides(table, ["id"], **split))
    assert found["validation"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert found["test"] / 20_000 == pytest.approx(0.3, abs=0.015)


def test_another_seed_draws_another_split_and_the_same_seed_the_same() -> None:
    assert sides(BASE, ["part"], 1, kind="random") == sides(BASE, ["part"], 1, kind="random")
    assert sides(BASE, ["part"], 1, kind="random") != sides(BASE, ["part"], 2, kind="random")


def test_a_share_takes_training_rows_only_and_a_smaller_one_is_part_of_a_larger() -> None:
    whole = sides(BASE, ["name"], kind="random")
    shares = [sides(BASE, ["name"], kind="random", train_share=share) for share in (0.5, 0.1)]
    for used in shares:
        assert all(
            now == before or (now is None and before == "train") for now, before in zip(used, whole, strict=True)
        )
    half, tenth = [{row for row, side in enumerate(used) if side == "train"} for used in shares]
    assert tenth < half
    assert 0.35 < len(half) / whole.count("train") < 0.65


def test_a_row_keeps_its_side_when_its_key_is_read_as_text() -> None:
    text = BASE.set_column(1, "part", BASE["part"].cast(pa.string()))
    assert sides(text, ["part"], kind="random") == sides(BASE, ["part"], kind="random")


def test_too_few_groups_are_refused() -> None:
    table = pa.table({"id": list(range(50)), "who": ["one"] * 50})
    with pytest.raises(DataError, match=r"no row falls on side .*; there are 1 groups, of which validation gets 0\.15"):
        sides(table, ["id"], kind="group", columns=["who"])


def test_a_double_key_in_two_groups_is_refused() -> None:
    table = pa.table({"id": [1] * 300, "who": list(range(300))})
    with pytest.raises(DataError, match=r"1 keys stand on more than one side, the first is id=1"):
        sides(table, ["id"], kind="group", columns=["who"])


PARTS = st.none() | st.text(st.sampled_from("ab1:-ß"), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PARTS, PARTS), min_size=1, max_size=30))
def test_different_keys_never_look_alike(keys: list[tuple[str | None, str | None]]) -> None:
    table = pa.table(
        {name: pa.array(list(column), pa.string()) for name, column in zip("xy", zip(*keys, strict=True), strict=True)}
    )
    encoded = encode_keys(table, ["x", "y"]).to_list()
    assert len(set(encoded)) == len(set(keys))


def test_neighbouring_parts_of_a_key_do_not_run_together() -> None:
    table = pa.table({"x": ["a", "ab", "", None], "y": ["bc", "c", "-", ""]})
    assert encode_keys(table, ["x", "y"]).to_list() == ["1:a2:bc", "2:ab1:c", "0:1:-", "-0:"]


# --- by a column ------------------------------------------------------------------------------------------


def test_a_column_names_the_side_in_any_of_its_words() -> None:
    table = pa.table({"id": [1, 2, 3, 4], "fold": ["train", "val", "test", "valid"]})
    assert sides(table, ["id"], kind="column", column="fold") == ["train", "validation", "test", "validation"]
    numbered = table.set_column(1, "fold", pa.array([0.0, 1.0, 2.0, 1.0]))
    words = {"train": ["0"], "validation": ["1"], "test": ["2"]}
    assert sides(numbered, ["id"], kind="column", column="fold", **words) == [
        "train",
        "validation",
        "test",
        "validation",
    ]


def test_a_word_that_names_no_side_is_refused_with_the_nearest() -> None:
    table = pa.table({"id": [1, 2, 3, 4, 5], "fold": ["train", "val", "test", "tran", None]})
    with pytest.raises(
        DataError, match=r"'fold' tells no side in 2 of 5 rows, which hold 'tran'; did you mean 'train'"
    ):
        sides(table, ["id"], kind="column", column="fold")
    with pytest.raises(DataError, match=r"which hold no value; name it under"):
        sides(table.slice(0, 5).filter(pa.array([True, True, True, False, True])), ["id"], kind="column", column="fold")


def test_a_side_that_the_column_never_names_is_refused() -> None:
    table = pa.table({"id": [1, 2], "fold": ["train", "test"]})
    with pytest.raises(DataError, match=r"side validation; column 'fold' holds 'test', 'train'"):
        sides(table, ["id"], kind="column", column="fold")


def test_a_word_with_two_meanings_is_refused() -> None:
    table = pa.table({"id": [1], "fold": ["test"]})
    with pytest.raises(ParamsError, match=r"'test' means both train and test"):
        sides(table, ["id"], kind="column", column="fold", train=["train", "test"])


# --- the stage --------------------------------------------------------------------------------------------


def project(split: dict[str, Any]) -> Project:
    return parse_project(
        {
            "version": 1,
            "seed": 3,
            "data": {"key": ["id"]},
            "columns": {"x": {"kind": "numeric"}},
            "tasks": {"late": {"kind": "binary", "target": "late"}},
            "split": split,
        }
    )


@pytest.fixture
def validated(tmp_path: Path) -> pa.Table:
    rows = 400
    table = pa.table(
        {
            "id": list(range(rows)),
            "x": [float(row) for row in range(rows)],
            "late": [row % 3 == 0 for row in range(rows)],
            "drop": ["a"] * 150 + ["b"] * 250,
        }
    )
    folder = tmp_path / "data/validated"
    with write_rows(folder / "rows.parquet", table.schema) as write:
        write(table.slice(0, 150))
        write(table.slice(150))
    seal(folder, ["rows.parquet"])
    return table


def test_the_stage_adds_a_side_and_keeps_rows_and_row_groups(tmp_path: Path, validated: pa.Table) -> None:
    stages.split(tmp_path, project({"kind": "random"}))
    split = pq.ParquetFile(tmp_path / "data/split/rows.parquet")
    assert [split.metadata.row_group(group).num_rows for group in range(split.num_row_groups)] == [150, 250]
    table = split.read()
    assert table.drop(["side"]).equals(validated)
    assert table["side"].to_pylist() == sides(validated, ["id"], 3, kind="random")
    manifest = check_seal(tmp_path / "data/split")
    assert manifest["sides"] == Counter(table["side"].to_pylist())
    assert (manifest["rows"], manifest["schema"]["side"]) == (400, "string")


def test_the_stage_leaves_out_the_rows_beyond_the_share(tmp_path: Path, validated: pa.Table) -> None:
    stages.split(tmp_path, project({"kind": "random", "train_share": 0.5}))
    rows = pq.read_table(tmp_path / "data/split/rows.parquet")
    assert rows["side"].null_count == 0
    assert 0 < len(rows) < len(validated)
    manifest = check_seal(tmp_path / "data/split")
    assert manifest["rows"] == len(rows) == sum(manifest["sides"].values())


def test_the_stage_tells_where_the_sides_begin_and_writes_no_row_without_a_part(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moments = [utc(2013, month, 10) for month in range(1, 7)]
    table = at(*moments).append_column("x", pa.array([1.0] * 6)).append_column("late", pa.array([True] * 6))
    folder = tmp_path / "data/validated"
    with write_rows(folder / "rows.parquet", table.schema) as write:
        write(table.slice(0, 2))
        write(table.slice(2))
    seal(folder, ["rows.parquet"])
    lengths = {"train": "2 months", "validation": "1 month", "test": "1 month", "timezone": "America/New_York"}
    stages.split(tmp_path, project(TIME | lengths))
    manifest = check_seal(tmp_path / "data/split")
    assert manifest["windows"] == {
        "train": "2013-03-01T00:00:00-05:00",
        "validation": "2013-05-01T00:00:00-04:00",
        "test": "2013-06-01T00:00:00-04:00",
    }
    assert manifest["windows"]["test"] in capfd.readouterr().out
    assert manifest["sides"] == {"train": 2, "validation": 1, "test": 1}
    assert pq.read_table(tmp_path / "data/split/rows.parquet")["id"].to_pylist() == [2, 3, 4, 5]
    stages.split(tmp_path, project(TIME | {"validation": "2013-05-01", "test": "2013-06-01"}))
    assert "windows" not in check_seal(tmp_path / "data/split")
    assert capfd.readouterr().out == ""


def test_the_stage_refuses_rows_that_were_altered(tmp_path: Path, validated: pa.Table) -> None:
    path = tmp_path / "data/validated/rows.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="was altered"):
        stages.split(tmp_path, project({"kind": "random"}))
    assert not (tmp_path / "data/split").exists()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, validated: pa.Table) -> None:
    seals = []
    for _ in range(2):
        stages.split(tmp_path, project({"kind": "random"}))
        seals.append(json.loads((tmp_path / "data/split/manifest.json").read_text()))
    assert seals[0] == seals[1]
