"""Encoding: the groups of sensitive columns beside features and labels, in the same order of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from world import params as world_params
from world import rows, write_params

from trunkline import stages
from trunkline.data.encode import SIDES, Encoded, encode_rows
from trunkline.data.groups import LONGEST_NAME, file_stem, group_codes
from trunkline.data.rows import open_rows, write_rows
from trunkline.errors import ArtifactError, ParamsError
from trunkline.files import read_json, seal, sha256

COUNT = 600
ODD_NAME = "../Staats/angehörigkeit \\ " + "ä" * 200


def columns() -> dict[str, pa.Array]:
    """Return columns that may be sensitive; each tells the row's number again, modulo its groups."""
    number = np.arange(COUNT)
    return {
        "sex": pa.array(np.array(["w", "m", None], dtype=object)[number % 3]),
        "band": pa.array(number % 12 * 10, pa.int64()),
        "veteran": pa.array(number % 2 == 1, pa.bool_()),
        "children": pa.array(number % 4, pa.float64()),
        ODD_NAME: pa.array(np.array(["at", "de"], dtype=object)[number % 2]),
        "row": pa.array(number, pa.int64()),
        "share": pa.array(number % 4 / 8, pa.float64()),
        "day": pa.array(number % 4 * 86_400_000_000, pa.timestamp("us", tz="UTC")),
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project whose split rows hold the columns above, with the sides in no order; its root."""
    root = tmp_path_factory.mktemp("encode")
    write_params(root, world_params())
    table = rows(COUNT)
    for name, values in columns().items():
        table = table.append_column(name, values)
    side = np.array(SIDES, dtype=object)[np.random.default_rng(0).choice(3, COUNT, p=[0.6, 0.2, 0.2])]
    table = table.append_column("side", pa.array(side, pa.string()))
    folder = root / "data/split"
    with write_rows(folder / "rows.parquet", table.schema) as write:
        for start in range(0, COUNT, 250):
            write(table.slice(start, 250))
    seal(folder, ["rows.parquet"])
    return root


def encode(root: Path, target: Path, *sensitive: str) -> Encoded:
    from trunkline.project import load_project

    declared = load_project(root)
    encode_rows(declared.columns, declared.tasks, root / "data/split", target, 1, sensitive)
    return Encoded(target, list(declared.tasks), sensitive)


def names_of(encoded: Encoded, column: str) -> dict[str, list[str]]:
    """Return the group's name of every row, by side."""
    names = np.array(encoded.groups[column])
    return {side: names[encoded.side(side).groups[column]].tolist() for side in SIDES}


EXPECTED: Mapping[str, list[str]] = {
    "sex": ["m", "w", "(missing)"],
    "band": [str(10 * place) for place in range(12)],
    "veteran": ["false", "true"],
    "children": ["0", "1", "2", "3"],
    ODD_NAME: ["at", "de"],
}


@pytest.fixture(scope="module")
def encoded(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return encode(project, tmp_path_factory.mktemp("encoded"), *EXPECTED)


@pytest.mark.parametrize("column", EXPECTED, ids=lambda name: name[:8])
def test_every_row_has_the_group_of_its_value_on_the_side_it_is_on(
    project: Path, encoded: Encoded, column: str
) -> None:
    assert encoded.groups[column] == EXPECTED[column]
    table = open_rows(project / "data/split").read(["side", column])
    word = {None: "(missing)", True: "true", False: "false"}
    for side, found in names_of(encoded, column).items():
        here = table.filter(pc.equal(table["side"], side))[column].to_pylist()
        assert found == [word[value] if value is None or isinstance(value, bool) else str(value).removesuffix(".0")
                         for value in here]  # fmt: skip
        assert len(found) == len(encoded.side(side))


def test_groups_stand_beside_their_names_and_counts(encoded: Encoded) -> None:
    said = read_json(encoded.folder / "groups/sex.json")
    assert said["column"] == "sex"
    assert said["groups"] == EXPECTED["sex"]
    found = names_of(encoded, "sex")
    assert said["rows"] == {side: [found[side].count(name) for name in said["groups"]] for side in SIDES}
    assert sum(sum(counts) for counts in said["rows"].values()) == COUNT


def test_a_columns_name_never_leaves_the_folder(encoded: Encoded) -> None:
    files = sorted(path.name for path in (encoded.folder / "groups").iterdir())
    assert len(files) == 2 * len(EXPECTED) + 1
    stems = [file_stem(column) for column in (*EXPECTED, "x" * 500, "x" * 501, "a/b", "a%2Fb", "..")]
    assert len(set(stems)) == len(stems)
    assert max(map(len, stems)) <= LONGEST_NAME
    assert not [stem for stem in stems if "/" in stem]


def test_the_same_rows_give_the_same_bytes(project: Path, encoded: Encoded, tmp_path: Path) -> None:
    encode(project, tmp_path, *EXPECTED)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) > 20
    assert all(sha256(tmp_path / path) == sha256(encoded.folder / path) for path in files)


def test_the_folder_of_groups_is_there_also_where_no_column_is_sensitive(project: Path, tmp_path: Path) -> None:
    found = encode(project, tmp_path)
    assert found.groups == {}
    assert found.side("test").groups == {}
    assert read_json(tmp_path / "groups/manifest.json")["columns"] == {}


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("row", "column 'row' has 600 different values, such as 0, 1, 2; at most 50 groups can be judged"),
        ("share", "column 'share' holds fractions, such as 0.0, 0.125, 0.25; groups are words, whole numbers"),
        ("day", "column 'day' holds moments"),
    ],
)
def test_a_column_that_forms_no_groups_is_refused(project: Path, tmp_path: Path, column: str, said: str) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml: data\.sensitive: ") as refused:
        encode(project, tmp_path, column)
    assert said in str(refused.value)


def test_altered_or_lacking_groups_are_not_read(project: Path, tmp_path: Path) -> None:
    tasks = list(encode(project, tmp_path, "sex").states)
    with pytest.raises(ArtifactError, match="holds no groups of column 'band'; run `trunkline run`"):
        Encoded(tmp_path, tasks, ["band"])
    path = tmp_path / "groups/sex.npy"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    Encoded(tmp_path, tasks)
    with pytest.raises(ArtifactError, match=r"sex.npy: was altered"):
        Encoded(tmp_path, tasks, ["sex"])


def test_features_that_another_encoder_made_are_not_read(project: Path, tmp_path: Path) -> None:
    encode(project, tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(path.read_text() + " ")
    seal(tmp_path, ["encoder.json", "front.onnx"])
    with pytest.raises(ArtifactError, match="did not make the features beside it"):
        Encoded(tmp_path, [])


def test_numbers_come_in_their_order_then_words_then_what_is_missing() -> None:
    values = pa.chunked_array([["10", "b", None], ["9", "", "-1", "a"]], pa.string())
    codes, names = group_codes(values)
    assert names == ["-1", "9", "10", "a", "b", "(missing)"]
    assert [names[code] for code in codes] == ["10", "b", "(missing)", "9", "(missing)", "-1", "a"]
    assert group_codes(pa.nulls(2))[1] == ["(missing)"]
    assert group_codes(pa.array([], pa.string()))[1] == []


def test_a_sensitive_column_that_is_no_input_travels_from_the_drops_to_the_split(tmp_path: Path) -> None:
    project = write_params(tmp_path, world_params(data={"key": ["id"], "sensitive": ["sex", "age"]}))
    incoming = tmp_path / "data/incoming"
    incoming.mkdir(parents=True)
    table = rows(400).append_column("sex", pa.array(["w", "m"] * 200)).append_column("stray", pa.array([1] * 400))
    pq.write_table(table, incoming / "first.parquet")
    for stage in ("ingest", "validate", "split"):
        stages.STAGES[stage](tmp_path, project)
    held = open_rows(tmp_path / "data/split").read()
    assert held["sex"].to_pylist() == ["w", "m"] * 200
    assert held.column_names == [*project.needed_columns, "drop", "side"]
    assert "stray" not in held.column_names


def test_features_and_labels_are_in_the_order_of_the_sides(project: Path, encoded: Encoded) -> None:
    table = open_rows(project / "data/split").read(["side", "spent"])
    for side in SIDES:
        spent = table.filter(pc.equal(table["side"], side))["spent"].to_numpy()
        assert np.array_equal(encoded.side(side).labels["spend"], spent.astype(np.float32), equal_nan=True)
        assert encoded.labelled["spend"][side] == np.count_nonzero(~np.isnan(spent))
