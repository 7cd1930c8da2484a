"""The whole pipeline over small real flights: nine stages, three ways to start them, one file at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import GLUE, REPOSITORY
from drops import NEW, params, sample
from ruamel.yaml import YAML

from benchmarks.replay.spoil import put, year_later
from trunkline.files import read_json, sha256

NEEDED = (*GLUE, "dvc.yaml", "requirements.lock", ".gitignore")
FROM_SPLIT_ON = (
    "data/split",
    "data/rebalance",
    "data/encoded",
    "models",
    "reports/evaluation.json",
    "reports/report.html",
)


def lay_down(root: Path) -> Path:
    """Lay down a project like the repository's, with 12 x 250 real flights and a small net."""
    for name in NEEDED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(
        REPOSITORY / "src" / "trunkline", root / "src" / "trunkline", ignore=shutil.ignore_patterns("__pycache__")
    )
    (root / "data" / "incoming").mkdir(parents=True)
    for month in range(1, 13):
        pq.write_table(sample(month, 250), root / "data" / "incoming" / f"flights-2013-{month:02d}.parquet")
    content = params(min_class_rows=5, drift={"min_rows": 200, "odds": 1000.0, "unseen": 0.5})
    content["trunk"] |= {"width": 32, "depth": 1}
    content["training"] |= {"epochs": 2, "batch": 128, "seeds": 2}
    content["evaluation"] |= {"draws": 200}
    content["export"] |= {"parity_rows": 300}
    with open(root / "params.yaml", "w") as handle:
        YAML().dump(content, handle)
    call(root, "git", "init", "--quiet", ".")
    return root


def call(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", *words) if words[0] in ("trunkline", "dvc") else words
    ended = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, env=os.environ, timeout=300)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = lay_down(tmp_path_factory.mktemp("demo") / "project")
    return root, call(root, "trunkline", "run").stdout


@pytest.fixture
def copied(finished: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(finished[0], tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_a_run_ends_with_the_verdict_table_and_three_paths(finished: tuple[Path, str]) -> None:
    said = finished[1]
    table = said[said.index("task  ") :].splitlines()
    assert [line.split()[0] for line in table[1:6]] == ["cancelled", "arr15", "arr60", "arr_delay", "air_time"]
    assert all(line.endswith("inconclusive") for line in table[1:6])
    for path in ("reports/report.html", "models/export/model.onnx"):
        assert path in said
        assert (finished[0] / path).exists()


def test_after_a_run_nothing_is_left_to_do_whoever_asks(finished: tuple[Path, str]) -> None:
    root = finished[0]
    lock = sha256(root / "dvc.lock")
    assert "up to date" in call(root, "dvc", "status").stdout
    assert "Running stage" not in call(root, "dvc", "repro").stdout
    assert " ran " not in call(root, "trunkline", "run").stdout
    assert sha256(root / "dvc.lock") == lock


def test_dvc_in_another_folder_ends_with_the_same_lock_and_the_same_bytes(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    other = lay_down(tmp_path / "another place")
    call(other, "dvc", "repro", "-q")
    for name in (
        "dvc.lock",
        "models/export/model.onnx",
        "reports/evaluation.json",
        "reports/report.html",
        "reports/validation.html",
    ):
        assert (other / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_a_change_of_one_task_reruns_only_its_own_baseline(copied: Path) -> None:
    said = call(copied, "trunkline", "run", "--set", "tasks.arr_delay.loss=huber").stdout
    state = dict(re.findall(r"^(\S+) +(ran|cached) ", said, re.MULTILINE))
    assert {name for name in state if name.startswith("baseline") and state[name] == "ran"} == {"baseline@arr_delay"}
    assert state["split"] == "cached"
    assert state["train"] == state["evaluate"] == state["export"] == "ran"


@pytest.mark.slow
def test_a_task_that_is_gone_leaves_no_model(copied: Path) -> None:
    text = (copied / "params.yaml").read_text()
    content: dict[str, Any] = YAML(typ="safe").load(text)
    del content["tasks"]["air_time"], content["evaluation"]["gates"]["air_time"]
    with open(copied / "params.yaml", "w") as handle:
        YAML().dump(content, handle)
    call(copied, "trunkline", "run")
    assert {path.name for path in (copied / "models" / "alone").iterdir()} == {
        "cancelled",
        "arr15",
        "arr60",
        "arr_delay",
    }
    assert "up to date" in call(copied, "dvc", "status").stdout


def poisoned(how: str) -> pa.Table:
    table = year_later(sample(1, 250, seed=5))
    if how == "a renamed column":
        return table.rename_columns(["temperature" if name == "temp" else name for name in table.column_names])
    if how == "an all-null column":
        return put(table, "humid", pa.nulls(len(table), pa.float64()))
    if how == "seconds instead of minutes":
        return put(table, "arr_delay", pc.multiply(table["arr_delay"], 60.0))
    flipped = np.random.default_rng(0).random(len(table)) < 0.3
    arr60 = pc.if_else(
        pa.array(flipped), pc.and_(pc.is_valid(table["arr15"]), pc.invert(table["arr15"])), table["arr60"]
    )
    return put(table, "arr60", arr60)


SLOW = pytest.mark.slow  # the stage's own tests hold these too; here they go through the whole command


@pytest.mark.parametrize(
    ("how", "column"),
    [
        ("seconds instead of minutes", "arr_delay"),
        pytest.param("a renamed column", "temp", marks=SLOW),
        pytest.param("an all-null column", "humid", marks=SLOW),
        pytest.param("arr60 without arr15", "arr60", marks=SLOW),
    ],
)
def test_a_poisoned_drop_stops_the_run_and_leaves_the_last_good_model(copied: Path, how: str, column: str) -> None:
    pq.write_table(poisoned(how), copied / "data" / "incoming" / NEW)
    before = {path: sha256(path) for name in FROM_SPLIT_ON for path in files_of(copied / name)}
    ended = call(copied, "trunkline", "run", code=3)
    said = ended.stdout + ended.stderr
    assert NEW in said
    assert f"'{column}'" in said or column in said
    assert re.search(r"\b\d+ (of \d+ )?rows|\d+ %|250", said)
    assert "Traceback" not in said
    assert {path: sha256(path) for name in FROM_SPLIT_ON for path in files_of(copied / name)} == before
    assert json.loads((copied / ".trunkline" / "last_failure.json").read_text())["code"] == 3


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


@pytest.mark.slow
def test_a_good_drop_is_taken_in(copied: Path) -> None:
    pq.write_table(year_later(sample(1, 250, seed=5)), copied / "data" / "incoming" / NEW)
    rows = read_json(copied / "data" / "split" / "manifest.json")["rows"]
    call(copied, "trunkline", "run")
    assert read_json(copied / "data" / "split" / "manifest.json")["rows"] == rows + 250


def test_predict_keeps_keys_and_says_what_the_report_says(finished: tuple[Path, str], tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    root = finished[0]
    rows = pq.read_table(root / "data" / "split" / "rows.parquet")
    test = rows.filter(pc.equal(rows["side"], "test"))
    pq.write_table(test.drop_columns(["side", "drop", "cancelled", "arr15"]), tmp_path / "rows.parquet")
    call(
        root,
        "trunkline",
        "predict",
        "models/export/model.onnx",
        str(tmp_path / "rows.parquet"),
        str(tmp_path / "out.parquet"),
    )
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == [
        "time_hour", "carrier", "flight", "origin", "cancelled.probability", "arr15.probability", "arr60.probability",
        "arr_delay.value", "air_time.value", "rejected",
    ]  # fmt: skip
    assert found["flight"].equals(test["flight"])
    score = roc_auc_score(test["cancelled"].to_numpy(), found["cancelled.probability"].to_numpy())
    reported = read_json(root / "reports" / "evaluation.json")["tasks"]["cancelled"]["exported"]["roc_auc"]
    assert score == pytest.approx(reported, abs=1e-4)


def test_the_readmes_python_runs_as_it_stands(finished: tuple[Path, str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert len([line for line in block.splitlines() if line]) == 5
    assert "array([[" in call(finished[0], sys.executable, "-W", "error", "-c", block).stdout


def test_dvc_plots_shows_the_training(finished: tuple[Path, str], tmp_path: Path) -> None:
    page = tmp_path / "plots"
    call(finished[0], "dvc", "plots", "show", "-q", "-o", str(page))
    assert "composite" in (page / "index.html").read_text()
