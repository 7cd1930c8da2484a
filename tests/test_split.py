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
