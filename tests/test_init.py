"""`trunkline init`: a person's own files to a project that runs without an edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from csv import writer as csv_writer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from conftest import GLUE, REPOSITORY
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trunkline import stages
from trunkline.cli.app import main
from trunkline.cli.check import find_faults
from trunkline.cli.init_lines import decided
from trunkline.errors import ParamsError
from trunkline.guess.draft import Draft, Wishes, draft
from trunkline.guess.held import Held
from trunkline.guess.place import lying_drops
from trunkline.guess.written import params_text
from trunkline.pipeline.sections import refuse_missing_sections
from trunkline.project import Project, load_project, parse_project, parse_yaml

VISITS = ("--target", "sick", "--target", "visits", "--target", "grade:ordinal=poor,fair,good")
ROWS = 400


def visits(rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """A table as people have them: a number of rows, numbers, words, yes and no, NA, a constant, an identifier."""
    chance = np.random.default_rng(seed)
    age, weight = chance.integers(18, 90, rows), chance.normal(75, 12, rows)
    ill = chance.random(rows) < 1 / (1 + np.exp(-(age - 60) / 12))
    return {
        "row": list(range(1, rows + 1)),
        "age": age.tolist(),
        "weight": [f"{value:.1f}" if chance.random() > 0.1 else "NA" for value in weight],
        "sex": chance.choice(["female", "male"], rows).tolist(),
        "zip": [f"0{chance.integers(1000, 1020)}" for _ in range(rows)],
        "note": [f"patient {number} came in" for number in range(rows)],
        "clinic": ["north"] * rows,
        "seen": [f"20{10 + number % 4}-0{1 + number % 9}-11" for number in range(rows)],
        "sick": np.where(ill, "yes", "no").tolist(),
        "visits": chance.poisson(np.exp((age - 60) / 30)).tolist(),
        "grade": chance.choice(["poor", "fair", "good"], rows).tolist(),
    }


def csv(path: Path, columns: dict[str, Any]) -> Path:
    with open(path, "w", newline="") as handle:
        writer = csv_writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def drafted(path: Path, *targets: str, **wishes: Any) -> Draft:
    return draft([path], Wishes(targets, **wishes))


def read_back(found: Draft) -> Project:
    return parse_project(parse_yaml(params_text(found)))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of the repository as a new person has it: the demo's params.yaml, committed, and no data."""
    root = tmp_path / "project"
    for name in (*GLUE, "dvc.yaml", "params.yaml", "requirements.lock", ".gitignore", "data/incoming/README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    monkeypatch.chdir(root)
    return root


# --- what is decided --------------------------------------------------------------------------------------


def test_columns_are_understood_as_a_person_would(tmp_path):
    found = drafted(csv(tmp_path / "visits.csv", visits()), "sick", "visits", "grade:ordinal=poor,fair,good")
    assert {name: each.kind for name, each in found.inputs.items()} == {
        "age": "numeric",
        "weight": "numeric",
        "sex": "categorical",
        "zip": "categorical",
        "seen": "timestamp",
    }
    assert found.inputs["seen"].cycles == ["week", "year"]
    assert sorted(found.left_out) == ["clinic", "note", "row"]
    assert "names rows" in found.left_out["note"] and "the same value" in found.left_out["clinic"]
    assert found.key.columns == ["row"]
    assert found.table.null_values == ["", "NA"]
    assert [(aim.task, aim.kind) for aim in found.aims.values()] == [
        ("sick", "binary"),
        ("visits", "count"),
        ("grade", "ordinal"),
    ]
    assert any("--time 'seen'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["true", "false"], "binary"),
        (["Yes", "No", ""], "binary"),
        ([0, 1, 1], "binary"),
        ([1, 2, 2], "multiclass"),
        (["a", "b"], "multiclass"),
        (["a", "b", "c", "NA"], "multiclass"),
        ([1, 2, 3, 4, 5], "multiclass"),
        (list(range(10)), "multiclass"),
        ([0, 0, 0, 1, 1, 2, 7], "count"),
        ([20, 35, 47, 61, 30, 44, 52, 28, 39, 70, 66], "regression"),
        ([0, 0, 1, 5000], "regression"),
        ([-1, 0, 0, 4, 6], "regression"),
        ([0.5, 1, 2], "regression"),
    ],
)
def test_the_kind_of_a_task_follows_from_its_values(tmp_path, cells, kind):
    cells = cells * 30
    table = {"row": range(len(cells)), "x": [number % 7 for number in range(len(cells))], "y": cells}
    found = drafted(csv(tmp_path / "t.csv", table), "y")
    assert found.aims["y"].kind == kind
    assert read_back(found).tasks["y"].kind == kind


def test_a_kind_that_was_given_wins_where_the_values_allow_it(tmp_path):
    table = {"row": range(90), "x": [number % 7 for number in range(90)], "stars: all": [1, 2, 3] * 30}
    path = csv(tmp_path / "t.csv", table)
    assert drafted(path, "stars: all:regression").aims["stars: all"].kind == "regression"
    assert read_back(drafted(path, "stars: all:ordinal=1,2,3")).tasks["stars_all"].classes == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("columns", "asked", "key"),
    [
        ({"x": "AABB", "patient_id": "abcd"}, [], ["patient_id"]),
        ({"firm": [1, 1, 2, 2], "year": [1, 2, 1, 2], "x": "pqqp"}, [], ["firm", "year"]),
        ({"firm": [1, 1, 2, 2], "year": [1, 2, 1, 2], "x": "pqqp"}, ["firm,year"], ["firm", "year"]),
        ({"b": [0.1, 0.2, 0.3, 0.4], "a": [7, 900, 13, 55]}, [], ["a"]),
    ],
)
def test_the_key_is_what_has_another_value_in_every_row(tmp_path, columns, asked, key):
    path = csv(tmp_path / "t.csv", {**columns, "y": [0, 1, 1, 0]})
    assert drafted(path, "y", key=asked).key.columns == key


def test_an_input_that_gives_a_target_away_is_left_out_and_one_that_nearly_does_is_pointed_at(tmp_path):
    chance = np.random.default_rng(1)
    price = chance.normal(100, 20, 500)
    table = {
        "row": range(500),
        "euro": (price * 0.9).round(3),
        "near": (price + chance.normal(0, 2, 500)).round(2),
        "free": chance.normal(0, 1, 500).round(3),
        "price": price.round(3),
    }
    found = drafted(csv(tmp_path / "t.csv", table), "price")
    assert list(found.inputs) == ["near", "free"]
    assert "possible leak" in found.left_out["euro"]
    assert any("near alone tells nearly all of price" in note for note in found.notes)


def test_later_rows_judge_where_a_time_is_named(tmp_path):
    days = np.datetime64("2020-01-01") + np.arange(300)
    table = {"row": range(300), "day": days, "x": [n % 7 for n in range(300)], "y": [n % 2 for n in range(300)]}
    for path in (csv(tmp_path / "t.csv", table), tmp_path / "t.parquet"):
        if path.suffix == ".parquet":
            pq.write_table(pa.table({**table, "row": list(range(300))}), path)
        split = read_back(drafted(path, "y", time="day")).split
        assert (split.kind, split.validation, split.test) == ("time", "2020-07-29", "2020-09-12")


def test_moments_of_one_day_are_cut_within_it(tmp_path):
    moments = np.datetime64("2020-01-01T06:00:00") + np.arange(100) * np.timedelta64(60, "s")
    table = {"row": range(100), "at": moments, "x": [n % 7 for n in range(100)], "y": [n % 2 for n in range(100)]}
    split = read_back(drafted(csv(tmp_path / "t.csv", table), "y", time="at")).split
    assert (split.validation, split.test) == ("2020-01-01T07:10:00Z", "2020-01-01T07:25:00Z")


@pytest.mark.parametrize(
    ("moments", "lengths"),
    [
        (np.datetime64("2020-01-03") + np.arange(400), ("2 months", "2 months")),
        (np.datetime64("1980-01-03") + np.arange(0, 16000, 40), ("7 years", "6 years")),
        (np.datetime64("2020-01-01T06:00:00") + np.arange(60), None),
        (np.datetime64("9999-01-01") + np.arange(365), None),
    ],
)
def test_a_split_in_time_says_how_it_would_follow_new_rows(tmp_path, moments, lengths):
    rows = len(moments)
    table = {"row": range(rows), "at": moments, "x": [n % 7 for n in range(rows)], "y": [n % 2 for n in range(rows)]}
    found = drafted(csv(tmp_path / "t.csv", table), "y", time="at")
    assert found.lengths == lengths
    assert any("rows that come later only judge" in note for note in found.notes)
    text = params_text(found)
    validation, test = lengths or ("2 months", "1 month")
    assert f'such as validation: "{validation}", test: "{test}"' in text
    followed = text.replace(found.split["validation"], validation).replace(found.split["test"], test)
    assert parse_project(parse_yaml(followed)).split.moves


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["visits-2013-01.csv", "visits-2013-02.csv"], "visits"),
        (["eu_visits_a.csv", "eu_visits_b.csv"], "eu-visits"),
        (["north.csv", "south.csv"], "north"),
        (["2013-01.csv", "2013-02.csv"], "2013-01"),
        (["visits-2013.csv"], "visits-2013"),
    ],
)
def test_a_model_is_called_after_its_files(tmp_path, files, name):
    table = {"x": [n % 7 for n in range(60)], "y": [n % 2 for n in range(60)]}
    paths = [csv(tmp_path / file, {"row": range(60 * at, 60 * at + 60), **table}) for at, file in enumerate(files)]
    assert draft(paths, Wishes(["y"])).name == name


def test_several_columns_are_ignored_in_one_word(tmp_path):
    found = drafted(csv(tmp_path / "visits.csv", visits()), "sick", ignored=["age, weight", "sex"])
    assert {name for name, why in found.left_out.items() if why == "as you said"} == {"age", "weight", "sex"}


def test_of_large_files_only_the_first_rows_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("trunkline.guess.table.MOST_ROWS", 1000)
    rows = 5000
    table = {"row": list(range(rows)), "x": [n % 7 for n in range(rows)], "y": [n % 2 for n in range(rows)]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=300)
    found = drafted(tmp_path / "t.parquet", "y")
    assert (found.table.rows, found.table.total) == (1000, rows)
    assert "first 1,000 rows of 5,000" in "\n".join(decided(found))


def test_a_head_of_csv_ends_with_a_whole_row(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"x\ny"\n2,"p\nq"\n')
    monkeypatch.setattr("trunkline.data.reader.HEAD_BYTES", 18)
    from trunkline.data.reader import read_head

    table, total = read_head(path, [""], 100)
    assert (table.to_pydict(), total) == ({"a": ["1"], "b": ["x\ny"]}, None)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "wishes", "said"),
    [
        ([], {}, "name what to predict"),
        (["sik"], {}, "no column 'sik'; did you mean 'sick'"),
        (["empty"], {}, "has no value in 400 rows"),
        (["clinic"], {}, "holds only 'north'"),
        (["note"], {}, "400 different words"),
        (["seen"], {}, "holds moments"),
        (["sick", "sick"], {}, "is there twice"),
        (["sick:bin"], {}, "'bin' is no kind; did you mean 'binary'"),
        (["sick:survival"], {}, "declare this one in params.yaml afterwards"),
        (["sex:binary"], {}, "a binary target is true/false, yes/no or 0/1"),
        (["weight:count"], {}, "a count is a whole number"),
        (["sex:regression"], {}, "regression takes numbers"),
        (["grade:ordinal"], {}, "grade:ordinal=fair,good,poor"),
        (["grade:ordinal=poor,good,best"], {}, "'fair', which the order lacks"),
        (["grade:ordinal=poor,fair,good,best"], {}, "no row holds 'best'"),
        (["comma"], {}, "numbers with a comma, such as '"),
        (["sick"], {"key": ["age"]}, "have the key of another row"),
        (["sick"], {"key": ["empty"]}, "400 of 400 rows have no value"),
        (["sick"], {"key": ["rows"]}, "did you mean 'row'"),
        (["sick"], {"time": "age"}, "no moments; write ISO 8601"),
        (["sick"], {"ignored": ["agee"]}, "did you mean 'age'"),
        (["sick"], {"ignored": ["sick"]}, "is a target already"),
        (["sick"], {"name": "a b"}, "a model's name"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_one_line(tmp_path, targets, wishes, said):
    table = {**visits(), "empty": [""] * ROWS, "comma": [f"{number},5" for number in range(ROWS)]}
    with pytest.raises(ParamsError) as caught:
        drafted(csv(tmp_path / "visits.csv", table), *targets, **wishes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'"",x,y\n1,2,0\n2,3,1\n', "sed -i -E '1s/^(\"\")?/row/' "),
        (b"x,y\n", "no rows"),
        ("x,y\ngrün,1\n".encode("latin-1"), "Latin-1"),
        (b"x,x,y\n1,2,0\n", "more than once"),
        (b"x,y\n1,0\n1,1\n1,0\n", "identify a row"),
        (b"y,z\n1,1\n0,2\n1,3\n", "no column is left to predict from"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_line(tmp_path, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        drafted(tmp_path / "t.csv", "y")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_are_left_out_and_refused_as_targets(tmp_path):
    table = pa.table({"row": list(range(60)), "x": [[1]] * 60, "z": [1, 2, 3] * 20, "y": [0, 1] * 30})
    pq.write_table(table, tmp_path / "t.parquet")
    assert drafted(tmp_path / "t.parquet", "y").left_out["x"] == "holds list<element: int64>, which no input is"
    with pytest.raises(ParamsError, match="holds list<element: int64>; a target is"):
        drafted(tmp_path / "t.parquet", "x")


def test_files_of_other_columns_are_refused(tmp_path):
    files = [csv(tmp_path / "a.csv", {"row": [1], "x": [1]}), csv(tmp_path / "b.csv", {"row": [1], "xx": [1]})]
    with pytest.raises(ParamsError, match=r"b\.csv: lacks 'x' and holds 'xx' besides, unlike .*did you mean 'xx'"):
        draft(files, Wishes(["x"]))


def test_columns_that_trunkline_writes_itself_are_no_inputs(tmp_path):
    table = {"row": range(60), "side": "ab" * 30, "y.label": "ab" * 30, "x": "abc" * 20, "y": [0, 1] * 30}
    assert list(drafted(csv(tmp_path / "t.csv", table), "y").inputs) == ["x"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["1,5", "2,25"], "numbers with a comma"),
        (["$5", "$1,200"], "numbers with a sign"),
        (["31/01/2013", "01/02/2013"], "dates of another order"),
        (["0123", "0456"], None),
        (["1.2.10", "1.3.1"], None),
        (["a", "1,5"], None),
    ],
)
def test_numbers_and_dates_of_another_form_are_told(words, what):
    told = Held("x", pa.array(words)).misspelled
    assert told is None if what is None else told.startswith(f"{what}, such as '")


# --- whatever a table holds -------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda name: name.strip())
CELLS = [
    st.integers(-(2**62), 2**62),
    st.integers(0, 5),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.sampled_from(["NA", "1", "2.5", "yes", "no", "2013-01-31", "", "null", "~", "- a: b"]),
    st.datetimes(),
    st.dates(),
    st.lists(st.integers(0, 3), max_size=2),
]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of one to four columns of any type, and a target that can be learned."""
    rows = draw(st.integers(4, 30))
    columns = {"y": [place % 3 for place in range(rows)], "row": list(range(rows))}
    others = NAMES.filter(lambda name: name not in columns)
    names = draw(st.lists(others, min_size=1, max_size=4, unique=True))
    for name in names:
        cell = st.one_of(st.none(), draw(st.sampled_from(CELLS)))
        columns[name] = draw(st.lists(cell, min_size=rows, max_size=rows))
    return pa.table(columns)


@settings(max_examples=40)
@given(tables(), st.booleans())
def test_any_table_gives_params_that_parse(tmp_path_factory, table, as_csv):
    path = tmp_path_factory.mktemp("t") / "t"
    plain = all(not pa.types.is_list(kind) for kind in table.schema.types)
    if as_csv and plain and not any("\n" in name or "\r" in name for name in table.column_names):
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    try:
        found = drafted(path, "y", key=["row"])
    except ParamsError as fault:
        assert "no column is left" in str(fault) or as_csv, fault
        assume(False)
    project = read_back(found)
    assert list(project.columns) == list(found.inputs)
    assert all(len(line) <= 100 for line in decided(found))


# --- into the project -------------------------------------------------------------------------------------


def test_init_check_and_the_first_stages_work_without_an_edit(project, tmp_path, capsys):
    names = ["A", "B", "0", "AB"] * (ROWS // 4)
    path = csv(tmp_path / "visits.csv", {**visits(), "blood, type (ABO)": names, "b.m i:": [1.5, 2.5] * (ROWS // 2)})
    assert main(["init", str(path), *VISITS]) == 0
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "trunkline run" in said
    refuse_missing_sections(project)
    assert [finding.code for finding in find_faults(project)] == [0, 0]
    assert "1 file holds every column" in find_faults(project)[1].message
    found = load_project(project)
    assert found.columns["blood, type (ABO)"].kind == "categorical"
    for stage in (stages.ingest, stages.validate, stages.split, stages.rebalance, stages.encode):
        stage(project, found)
    assert (project / "data/encoded/manifest.json").is_file()


def test_every_line_of_the_written_params_has_a_comment(tmp_path):
    text = params_text(drafted(csv(tmp_path / "visits.csv", visits()), "sick", "visits"))
    assert text.startswith("# yaml-language-server: $schema=docs/params.schema.json\n")
    lines = [line for line in text.splitlines() if line and not line.endswith(":")]
    assert [line for line in lines if "#" not in line] == []
    assert "  epochs: auto " in text and "  batch: auto " in text


def test_a_dry_run_writes_nothing(project, tmp_path, capsys):
    path, before = csv(tmp_path / "visits.csv", visits()), (project / "params.yaml").read_bytes()
    assert main(["init", str(path), "--target", "sick", "--dry-run"]) == 0
    assert "sick: {kind: binary, target: sick}" in capsys.readouterr().out
    assert (project / "params.yaml").read_bytes() == before
    assert lying_drops(project) == []


def test_json_says_what_was_decided(project, tmp_path, capsys):
    path = csv(tmp_path / "visits.csv", visits())
    assert main(["init", str(path), *VISITS, "--name", "clinic", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tasks"]["visits"]["kind"] == "count"
    assert (told["key"], told["rows"], told["written"]) == (["row"], ROWS, True)
    assert load_project(project).export.name == "clinic"


def test_files_that_lie_there_are_taken_where_none_is_named(project):
    path = csv(project / "data/incoming/visits.csv", visits())
    before = path.stat().st_mtime_ns
    assert main(["init", "--target", "sick"]) == 0
    assert path.stat().st_mtime_ns == before
    assert list(load_project(project).tasks) == ["sick"]


def test_nothing_of_the_persons_is_replaced_unless_they_say_so_and_then_it_is_kept(project, tmp_path, capsys):
    one, other = (csv(tmp_path / f"{name}.csv", visits(seed=seed)) for seed, name in enumerate(("one", "other")))
    assert main(["init", str(one), "--target", "sick"]) == 0
    first = (project / "params.yaml").read_text()
    assert main(["init", str(other), "--target", "sick"]) == 2
    assert "1 other file lies there already, such as one.csv" in capsys.readouterr().err
    assert main(["init", str(one), "--target", "sick"]) == 2
    assert "params.yaml: has changes that are not in git" in capsys.readouterr().err
    assert (project / "params.yaml").read_text() == first
    assert main(["init", str(other), "--target", "visits", "--force"]) == 0
    assert [path.name for path in lying_drops(project)] == ["other.csv"]
    kept = project / ".trunkline/replaced/1"
    assert (kept / "one.csv").read_bytes() == one.read_bytes()
    assert (kept / "params.yaml").read_text() == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.csv", "--target", "x"], "does not exist"),
        (["--target", "x"], "name a Parquet or CSV file"),
        (["README.md", "--target", "x"], "ingest passes over files of such a name"),
    ],
)
def test_words_that_name_no_data_are_answered_in_a_line_with_code_2(project, capsys, words, said):
    (project / "README.md").write_text("x\n1\n")
    assert main(["init", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_run_follows_init(project, tmp_path):
    assert main(["init", str(csv(tmp_path / "visits.csv", visits(1200))), *VISITS]) == 0
    shutil.copytree(REPOSITORY / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    settings = ("--set", "training.epochs=2", "--set", "training.seeds=2", "--set", "trunk.size=small")
    words = [sys.executable, "-m", "trunkline", "run", *settings]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, env=os.environ, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "models/export/model.onnx").is_file()
    assert "Deployable: yes (no gate is declared)" in done.stdout
