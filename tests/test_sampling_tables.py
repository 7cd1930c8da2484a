"""Several tables, one per task, united by name: from the files of data/incoming/ to the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import world
from pydantic import TypeAdapter

from trunkline import stages
from trunkline.cli.check import find_faults
from trunkline.data.coverage import Targets, count_labels
from trunkline.errors import DataError, ParamsError
from trunkline.files import read_json
from trunkline.project import Project, parse_project
from trunkline.tasks import Task

LACKED = ["churned", "plan_name", "spent", "income"]


def lay_tables(root: Path, sizes: tuple[int, int] = (900, 400)) -> None:
    """One file of churn and plan, with income; two of what was spent, without."""
    rows = world.rows(sum(sizes))
    one, two = rows.slice(0, sizes[0]), rows.slice(sizes[0])
    folder = root / stages.INCOMING
    folder.mkdir(parents=True)
    pq.write_table(one.drop_columns(["spent"]), folder / "accounts.parquet")
    bought = two.drop_columns(["churned", "plan_name", "income"])
    pq.write_table(bought.slice(0, sizes[1] // 2), folder / "sales-1.parquet")
    pq.write_table(bought.slice(sizes[1] // 2), folder / "sales-2.parquet")


def declared(root: Path, may_lack: list[str], **sections: Any) -> Project:
    few = {"min_class_rows": 5, "drift": {"min_rows": 100}}
    return world.write_params(root, world.params(validation={"may_lack": may_lack, **few}, **sections))


def test_tables_that_lack_columns_pass_where_that_is_declared_and_only_there(tmp_path: Path) -> None:
    lay_tables(tmp_path)
    project = declared(tmp_path, LACKED[:-1])
    stages.ingest(tmp_path, project)
    with pytest.raises(DataError, match="income"):
        stages.validate(tmp_path, project)
    stages.validate(tmp_path, declared(tmp_path, LACKED))
    validated = pq.read_table(tmp_path / "data/validated/rows.parquet")
    assert validated["drop"].value_counts().to_pylist() == [
        {"values": "accounts.parquet", "counts": 900},
        {"values": "sales-1.parquet", "counts": 200},
        {"values": "sales-2.parquet", "counts": 200},
    ]
    assert validated["spent"].slice(0, 900).null_count == 900


def test_a_file_is_compared_with_earlier_files_of_its_own_table(tmp_path: Path) -> None:
    lay_tables(tmp_path)
    path = tmp_path / stages.INCOMING / "sales-2.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("age")
    pq.write_table(table.set_column(place, "age", pa.array([500.0] * len(table))), path)
    project = declared(tmp_path, LACKED)
    stages.ingest(tmp_path, project)
    with pytest.raises(DataError, match=r"sales-2\.parquet.*age"):
        stages.validate(tmp_path, project)


def test_what_may_lack_is_an_input_or_a_target() -> None:
    with pytest.raises(ParamsError, match=r"validation\.may_lack: 'spend' is no input and no target; did you mean"):
        parse_project(world.params(validation={"may_lack": ["spend"]}))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    lay_tables(root)
    sections = {"sampling": {"kind": "square_root"}, "monitor": {"every": 2, "lookahead": 3}, "training": {"epochs": 2}}
    project = declared(root, LACKED, **sections)
    for name in ("ingest", "validate", "split", "rebalance", "encode", "train"):
        stages.STAGES[name](root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    return root


def test_tables_are_drawn_by_their_law_in_shared_and_each_by_itself_alone(evaluated: Path) -> None:
    shared = read_json(evaluated / "models/shared/run.json")["sampling"]
    assert [table["tasks"] for table in shared["tables"]] == [["churn", "plan"], ["spend"]]
    alone = read_json(evaluated / "models/alone/spend/run.json")["sampling"]
    assert [table["tasks"] for table in alone["tables"]] == [["spend"]]
    steps = [sum(each["steps"][0]) for each in (shared, alone)]
    assert steps[0] == steps[1] > 20


def test_the_history_counts_labels_and_the_report_draws_them(evaluated: Path) -> None:
    header, *lines = (evaluated / "models/shared/history.tsv").read_text().splitlines()
    place = header.split("\t").index("labels.spend")
    steps = read_json(evaluated / "models/shared/run.json")["sampling"]["steps"][0]
    assert sum(float(line.split("\t")[place]) for line in lines) == steps[1] * 64  # every row of its table has a label
    page = (evaluated / "reports/report.html").read_text()
    assert page.count("Labels shown per epoch") == 3


# --- trunkline check --------------------------------------------------------------------------------------


def said(root: Path) -> str:
    findings = find_faults(root)
    assert not [finding for finding in findings if finding.code]
    return "\n".join(finding.message for finding in findings)


def test_check_tells_of_tables_and_of_rare_labels(tmp_path: Path) -> None:
    lay_tables(tmp_path, (900, 80))
    declared(tmp_path, LACKED[1:])
    found = said(tmp_path)
    assert "sales-1.parquet: lacks income, churned, plan_name; its rows count as missing there, which" in found
    assert "unless validation.may_lack names churned" in found
    assert "stand in different rows; square_root or temperature gives the smaller table more steps" in found
    declared(tmp_path, LACKED, sampling={"kind": "square_root"})
    assert "sampling" not in said(tmp_path)
    assert "refuses" not in said(tmp_path)


def test_check_says_that_a_label_is_too_rare_for_the_shuffle_and_a_law_too_much_for_common_rows(tmp_path: Path) -> None:
    folder = tmp_path / stages.INCOMING
    folder.mkdir(parents=True)
    rows = world.rows(1000)
    spent = pa.array([value if place < 20 else None for place, value in enumerate(rows["spent"].to_pylist())])
    rare = rows.set_column(rows.column_names.index("spent"), "spent", spent)
    pq.write_table(rare, folder / "all.parquet")
    declared(tmp_path, [])
    found = said(tmp_path)
    assert "tasks.spend: labelled in 1." in found
    assert "sampling.kind: label_aware puts at least min_labelled" in found
    assert "tasks.churn" not in found
    declared(tmp_path, [], sampling={"kind": "label_aware", "min_labelled": 4})
    assert "sampling" not in said(tmp_path)
    declared(tmp_path, [], sampling={"kind": "label_aware"})
    assert "sampling.min_labelled, min_per_class: their rows take 55 of the 64 of a step" in said(tmp_path)
    pq.write_table(rows, folder / "all.parquet")
    declared(tmp_path, [], sampling={"kind": "uniform"})
    assert "every task is labelled in most rows" in said(tmp_path)


def test_check_counts_every_column_of_a_task_with_several(tmp_path: Path) -> None:
    """The first of the tags is known of 1 % of the rows, the second of all; of a time both columns are needed."""
    count, some = 1000, [True, False] * 500
    few, times = [value if place < 10 else None for place, value in enumerate(some)], [float(n) for n in range(count)]
    held = {"first": few, "second": some, "days": times, "gone": few}
    path = tmp_path / "all.parquet"
    pq.write_table(pa.table(held), path)
    declared = {
        "tags": {"kind": "multilabel", "labels": ["first", "second"]},
        "stay": {"kind": "survival", "target": "days", "event": "gone"},
    }
    tasks = {name: TypeAdapter(Task).validate_python(content) for name, content in declared.items()}
    targets = {name: Targets(list(task.label_columns), task.any_column) for name, task in tasks.items()}
    assert count_labels([path], targets) == [(count, {"tags": count, "stay": 10})]


def test_check_says_nothing_of_labels_in_csv_files(tmp_path: Path) -> None:
    lay_tables(tmp_path)
    (tmp_path / stages.INCOMING / "more.csv").write_text("id,age,city,since\nx,1,Graz,2020-01-01\n")
    declared(tmp_path, LACKED)
    assert "sampling" not in said(tmp_path)
