"""params.yaml: what is refused, and with which words."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from trunkline.errors import ParamsError
from trunkline.pipeline.sections import refuse_missing_sections
from trunkline.project import Project, load_project, parse_project, read_yaml

ROOT = Path(__file__).parents[1]
SMALLEST: dict[str, Any] = {
    "version": 1,
    "data": {"key": ["id"]},
    "columns": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}},
    "tasks": {
        "churn": {"kind": "binary", "target": "churned"},
        "spend": {"kind": "regression", "target": "spent"},
    },
    "split": {"kind": "random"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    content = copy.deepcopy(SMALLEST)
    *parents, last = path.split(".")
    place = content
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return content


FAULTS = [
    ("tasks.churn.loss_weigth", 2.0, "tasks.churn.loss_weigth: is not a setting here"),
    ("tasks.churn.wieght", 2.0, "did you mean 'weight'?"),
    ("tasks.churn.kind", "binry", "tasks.churn.kind: 'binry' is unknown; choose one of binary, multiclass, regression"),
    ("tasks.churn.weight", "2", "tasks.churn.weight: found '2'"),
    ("tasks.churn.weight", -1.0, "greater than 0"),
    ("tasks.churn.weight", float("nan"), "tasks.churn.weight: found nan"),
    ("tasks.churn.weight", float("inf"), "tasks.churn.weight: found inf"),
    ("tasks.churn.primary", "auc", "primary 'auc' is unknown; choose one of roc_auc"),
    ("tasks.churn.target", "age", "column 'age' is also an input"),
    ("tasks.spend.target", "churned", "tasks 'churn' and 'spend' both learn column 'churned'"),
    ("tasks.spend.clip", [5.0, 1.0], "clip [5.0, 1.0] is empty"),
    ("tasks", {}, "tasks: found {}"),
    ("tasks", {"a/b": {"kind": "binary", "target": "y"}}, "a task's name is a letter"),
    ("tasks", {"../x": {"kind": "binary", "target": "y"}}, "a task's name is a letter"),
    ("tasks", [], "tasks: found []"),
    ("columns.age.mni", 0, "columns.age.mni: is not a setting here; did you mean 'min'?"),
    ("columns.numeric", {"kind": "numeric", "mn": 1}, "columns.numeric.mn: is not a setting here"),
    ("columns.side", {"kind": "numeric"}, "column 'side': trunkline writes a column of that name itself"),
    ("columns.age", {"kind": "numeric", "min": 5.0, "max": 1.0}, "min 5.0 is above max 1.0"),
    ("columns.age", {"kind": "numeric", "max_missing": 1.1}, "columns.age.max_missing: found 1.1"),
    ("split.kind", "tme", "split.kind: 'tme' is unknown; choose one of time, random, group, column"),
    (
        "split",
        {"kind": "time", "column": "t", "validation": dt.date(2013, 9, 1), "test": "2014"},
        "in quotes, '2013-09-01'",
    ),
    ("split", {"kind": "time", "column": "t", "validation": "monday", "test": "2014"}, "'monday' is no date"),
    (
        "split",
        {"kind": "time", "column": "t", "validation": "2014-01-01", "test": "2013-01-01"},
        "must lie before test",
    ),
    ("split.test", 0.9, "leave no training rows"),
    ("split.test", 0.0, "split.test: found 0.0"),
    ("training.epochs", 1.5, "training.epochs: found 1.5"),
    ("training.epochs", 0, "training.epochs: found 0"),
    ("training.learning_rate", "1e-3", "training.learning_rate: found '1e-3'"),
    ("training.learning_rate", 0, "training.learning_rate: found 0"),
    ("training.early_stop", {"patince": 1}, "training.early_stop.patince: is not a setting here"),
    ("traning", {}, "traning: is not a setting here; did you mean 'training'?"),
    ("balance.kind", "pcgard", "balance.kind: 'pcgard' is unknown"),
    ("seed", -1, "seed: found -1"),
    ("seed", 2**64, "seed: found 18446744073709551616"),
    ("version", 2, "version: 2 is unknown"),
    ("validation.implications", {"churn": ["churned"]}, "'churned' is no binary task; did you mean 'churn'?"),
    ("validation.leaks", {"allow": ["agee"]}, "'agee' is no input column; did you mean 'age'?"),
    ("data.key", [], "data.key: found []"),
    ("data", None, "data: found None"),
]


@pytest.mark.parametrize(("path", "value", "words"), FAULTS, ids=[f"{path}={value}" for path, value, _ in FAULTS])
def test_a_fault_is_named_with_its_key_and_the_repair(path: str, value: object, words: str) -> None:
    with pytest.raises(ParamsError) as refused:
        parse_project(changed(path, value))
    assert words in str(refused.value)
    assert all(line.startswith("params.yaml: ") for line in str(refused.value).splitlines())


def test_the_smallest_project_is_accepted() -> None:
    project = parse_project(SMALLEST)
    assert project.needed_columns == ["id", "age", "city", "churned", "spent"]


def test_every_fault_of_a_file_is_told_at_once() -> None:
    content = changed("training.epochs", 1.5)
    content["tasks"]["churn"]["wieght"] = 1
    with pytest.raises(ParamsError) as refused:
        parse_project(content)
    assert len(str(refused.value).splitlines()) == 2


TEXTS = [
    ("", "holds nothing"),
    ("- a\n- b\n", "holds a list"),
    ("a: 1\na: 2\n", "params.yaml:2:1"),
    ("a:\n\t- b\n", "params.yaml:2"),
    ("a: [1, 2\n", "params.yaml:"),
    ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ("a: \0\n", "is not YAML"),
]


@pytest.mark.parametrize(("text", "words"), TEXTS)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as refused:
        load_project(tmp_path)
    assert words in str(refused.value)


def test_an_alias_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 90)}]" for n in range(1, 14)]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(ParamsError, match="without end"):
        load_project(tmp_path)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="not found in"):
        load_project(tmp_path)


def test_bytes_that_are_not_utf8_are_named_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ParamsError, match="byte 3 is not UTF-8"):
        load_project(tmp_path)


SCALARS = [
    "1e-3",
    "1E5",
    ".5",
    "5.",
    "010",
    "0o10",
    "0x1F",
    "1_000",
    "yes",
    "no",
    "NO",
    "on",
    "off",
    "true",
    "True",
    "~",
    "null",
    "12:30:45",
    "1.0e+3",
    "+1",
    "-0",
    ".inf",
    "-.INF",
    "0b11",
    "'1'",
    "1e3",
    "Null",
    "y",
]


def test_scalars_mean_what_dvc_takes_them_for(tmp_path: Path) -> None:
    from dvc.utils.serialize import load_yaml

    path = tmp_path / "params.yaml"
    path.write_text("\n".join(f"k{place}: {scalar}" for place, scalar in enumerate(SCALARS)))
    assert read_yaml(path) == load_yaml(str(path))
    assert read_yaml(path)["k0"] == 0.001


def test_reading_params_imports_no_heavy_library() -> None:
    heavy = ["torch", "prefect", "great_expectations", "pandas", "sklearn", "scipy", "pyarrow", "onnxruntime", "dvc"]
    code = (
        "import sys; from trunkline.project import load_project; load_project(__import__('pathlib').Path(sys.argv[1]));"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_schema_for_editors_is_current() -> None:
    written = json.loads((ROOT / "docs" / "params.schema.json").read_text())
    assert written == Project.model_json_schema(), "run `trunkline schema > docs/params.schema.json`"


def test_every_setting_has_a_description() -> None:
    schema = Project.model_json_schema()
    for name, part in schema["$defs"].items():
        for setting, described in part.get("properties", {}).items():
            assert setting == "kind" or "description" in described or "$ref" in described, f"{name}.{setting}"


def test_a_section_that_a_stage_reads_and_params_lack_is_named_with_its_default(tmp_path: Path) -> None:
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    del content["alone"], content["data"]["sensitive"], content["threads"]
    with open(tmp_path / "params.yaml", "w") as handle:
        YAML(typ="safe").dump(content, handle)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with pytest.raises(ParamsError) as caught:
        refuse_missing_sections(tmp_path)
    named = str(caught.value).splitlines()[1:]
    assert sorted(named) == ['  alone: {"match": "width", "tune": []}', "  data: {sensitive: []}", "  threads: 1"]
    shutil.copy(ROOT / "params.yaml", tmp_path)
    refuse_missing_sections(tmp_path)


def test_every_key_of_the_demos_params_has_its_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    section = ""
    bare = []
    for above, line in itertools.pairwise(lines):
        section = line.split(":")[0] if line and not line.startswith((" ", "#")) else section
        explained = line.rstrip().endswith(":") or above.lstrip().startswith("#")
        # Columns and tasks are names of the data: their settings stand in the schema.
        if line.strip() and "#" not in line and section not in ("columns", "tasks") and not explained:
            bare.append(line)
    assert bare == []


def test_high_quality_decides_the_trunk_and_leaves_its_measures() -> None:
    trunk = parse_project({**SMALLEST, "quality": "high", "trunk": {"kind": "residual", "width": 32}}).trunk
    assert (trunk.kind, trunk.copies, trunk.width, trunk.numbers.kind) == ("tabm", 4, 32, "piecewise")
    assert parse_project({**SMALLEST, "quality": "high"}).trunk.kind == "tabm"
    assert parse_project({**SMALLEST, "quality": "standard"}).trunk.kind == "mlp"
    with pytest.raises(ParamsError, match=r"mmoe cannot be built over trunk\.kind: tabm"):
        parse_project({**SMALLEST, "quality": "high", "sharing": {"kind": "mmoe"}})


def test_high_quality_hides_no_fault_of_the_trunk() -> None:
    for trunk, words in (({"widht": 32}, "widht"), (5, "trunk"), ("mlp", "trunk")):
        with pytest.raises(ParamsError, match=words):
            parse_project({**SMALLEST, "quality": "high", "trunk": trunk})


def test_a_rule_for_all_tasks_names_the_one_that_suits_where_it_does_not() -> None:
    tasks = {"churn": SMALLEST["tasks"]["churn"], "visits": {"kind": "count", "target": "visits"}}
    with pytest.raises(ParamsError, match="for visits choose equal under"):
        parse_project({**SMALLEST, "tasks": tasks, "rebalance": {"kind": "class_weights"}})
