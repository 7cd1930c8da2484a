"""Predictions that are kept, labels that come later: the numbers are those of an outsider, and a fall is noticed."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from sklearn import metrics
from tiny_model import CLASSES, graph, write_model
from world import write_params

from trunkline.cli.app import main
from trunkline.errors import ArtifactError, BusyError, DataError
from trunkline.files import read_json, sha256, write_json
from trunkline.monitoring.floors import fell, floor_failures
from trunkline.monitoring.in_service import outcomes
from trunkline.pipeline.lock import hold
from trunkline.project import Project, parse_project
from trunkline.serving.kept import find_kept
from trunkline.serving.predict import predict_file

PARAMS: dict[str, Any] = {
    "version": 1,
    "data": {"key": ["id", "origin"]},
    "columns": {"x": {"kind": "numeric"}, "origin": {"kind": "categorical"}, "time_hour": {"kind": "timestamp"}},
    "tasks": {
        "late": {"kind": "binary", "target": "was_late"},
        "size": {"kind": "multiclass", "target": "was_size"},
        "delay": {"kind": "regression", "target": "was_delay"},
    },
    "split": {"kind": "random"},
}
DAY = dt.datetime(2013, 1, 31, 5, tzinfo=dt.UTC)


def rows(start: int, count: int = 300, seed: int = 0) -> pa.Table:
    """Inputs with keys from `start` on, and what came of them."""
    chance = np.random.default_rng(seed + start)
    x = chance.normal(0, 1.5, count)
    origin = np.array(["EWR", "LGA"], dtype=object)[chance.integers(0, 2, count)]
    score = x + np.where(origin == "EWR", 1.0, -1.0) + 5 / 24
    best = np.argmax([score, -score, np.zeros(count)], axis=0)
    size = np.where(chance.random(count) < 0.7, best, chance.integers(0, 3, count))
    return pa.table(
        {
            "id": np.arange(start, start + count),
            "origin": pa.array(origin),
            "x": x,
            "time_hour": [DAY] * count,
            "was_late": pa.array(chance.random(count) < 1 / (1 + np.exp(-score)), mask=chance.random(count) < 0.1),
            "was_size": pa.array(np.array(CLASSES, dtype=object)[size]),
            "was_delay": 10 * score + chance.normal(0, 3, count),
        }
    )


def project_in(root: Path, **floors: float) -> Project:
    (root / "dvc.yaml").write_text("{}")
    return write_params(root, PARAMS | {"drift": {"floors": floors}})


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A project whose model scored two months, both kept."""
    project_in(tmp_path)
    model = write_model(tmp_path / "export")
    for month in (1, 2):
        pq.write_table(rows(1000 * month), tmp_path / f"month-{month}.parquet")
        predict_file(model, tmp_path / f"month-{month}.parquet", tmp_path / "out.parquet", keep=tmp_path / "kept")
    return tmp_path


def joined(root: Path, labels: pa.Table, **floors: float) -> dict[str, Any]:
    project = project_in(root, **floors)
    return outcomes(find_kept(root / "kept"), labels, project.data.key, project, 1, "labels.parquet")


def both() -> pa.Table:
    """The labels of both months, in another order and among others."""
    table = pa.concat_tables([rows(2000), rows(1000), rows(9000)])
    return table.take(np.random.default_rng(3).permutation(len(table)))


# --- keeping ----------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_was_predicted_in_a_folder_per_drop(world):
    kept = find_kept(world / "kept")
    assert [each.drop for each in kept] == ["month-1.parquet", "month-2.parquet"]
    assert pq.read_table(kept[1].path, partitioning=None).equals(pq.read_table(world / "out.parquet"))
    assert {each.model_sha256 for each in kept} == {sha256(world / "export/model.onnx")}
    assert not [path for path in (world / "kept").rglob("*") if path.name.startswith(".")]


def test_the_same_rows_again_are_the_same_file_and_other_rows_of_that_name_another(world):
    model, source = world / "export/model.onnx", world / "month-1.parquet"
    before = [each.path for each in find_kept(world / "kept")]
    predict_file(model, source, world / "out.parquet", keep=world / "kept")
    assert [each.path for each in find_kept(world / "kept")] == before
    pq.write_table(rows(5000, 10), source)
    predict_file(model, source, world / "out.parquet", keep=world / "kept")
    assert len(find_kept(world / "kept")) == 3 and set(before) < {each.path for each in find_kept(world / "kept")}


def test_rows_without_the_whole_key_are_not_kept_and_nothing_is_written(world):
    source = world / "no-id.parquet"
    pq.write_table(rows(1).drop_columns(["id"]), source)
    with pytest.raises(DataError, match=r"no-id\.parquet: column 'id' is missing; kept predictions need the whole key"):
        predict_file(world / "export/model.onnx", source, world / "new.parquet", keep=world / "kept")
    assert not (world / "new.parquet").exists() and len(find_kept(world / "kept")) == 2


def test_a_scoring_that_fails_half_way_keeps_nothing(world):
    def stop(done: int, of: int | None) -> None:
        raise KeyboardInterrupt

    pq.write_table(rows(7000), world / "month-3.parquet")
    with pytest.raises(KeyboardInterrupt):
        predict_file(
            world / "export/model.onnx", world / "month-3.parquet", world / "out.parquet", keep=world / "kept",
            on_progress=stop,
        )  # fmt: skip
    assert len(find_kept(world / "kept")) == 2


# --- joining ----------------------------------------------------------------------------------------------


def test_scores_are_those_that_an_outsider_computes(world):
    found = joined(world, both())
    for month, drop in zip((1, 2), found["drops"], strict=True):
        labels = rows(1000 * month).to_pandas()
        said = pq.read_table(find_kept(world / "kept")[month - 1].path, partitioning=None).to_pandas()
        known = labels["was_late"].notna()
        truth = labels["was_late"][known].astype(int)
        auc = metrics.roc_auc_score(truth, said["late.probability"][known])
        late = drop["tasks"]["late"]
        assert late["score"]["value"] == pytest.approx(auc) and late["score"]["rows"] == known.sum()
        assert late["labels"]["level"] == pytest.approx(truth.mean())
        accuracy = metrics.accuracy_score(labels["was_size"], said["size.label"])
        assert drop["tasks"]["size"]["score"]["value"] == pytest.approx(accuracy)
        r2 = metrics.r2_score(labels["was_delay"], said["delay.value"])
        assert drop["tasks"]["delay"]["score"]["value"] == pytest.approx(r2, abs=1e-5)
        low, high = late["score"]["interval"]
        assert low < auc < high


def test_every_row_is_counted_once_with_or_without_its_partner(world):
    labels = both().slice(0, 500)
    found = joined(world, labels)
    matched = sum(row in range(1000, 3000) for row in labels["id"].to_pylist())
    assert found["kept"] == {
        "rows": 600, "rejected": 0, "without_key": 0, "matched": matched, "unmatched": 600 - matched,
    }  # fmt: skip
    assert found["labels"] == {"rows": 500, "without_key": 0, "without_prediction": 500 - matched}


def test_labels_of_a_later_month_are_no_scores_yet(world):
    found = joined(world, rows(1000))
    assert found["drops"][0]["tasks"]["late"]["score"] and found["drops"][1]["tasks"]["late"]["score"] is None
    assert "month-1.parquet" in found["says"][0]
    only_late = joined(world, rows(1000).select(["id", "origin", "was_late"]))
    assert set(only_late["drops"][0]["tasks"]) == {"late"}


def test_a_key_that_stands_twice_is_refused_on_either_side(world):
    twice = pa.concat_tables([both(), rows(1000).slice(0, 2)])
    with pytest.raises(DataError, match=r"labels\.parquet: 2 of the keys stand there more than once, such as '1000 "):
        joined(world, twice)
    pq.write_table(rows(1000).slice(0, 5), world / "again.parquet")
    predict_file(world / "export/model.onnx", world / "again.parquet", world / "out.parquet", keep=world / "kept")
    with pytest.raises(DataError, match=r"kept predictions of model \w{12}: 5 of the keys stand there more than once"):
        joined(world, both())


def test_rejected_rows_and_rows_without_a_key_are_counted_and_not_joined(world):
    table = rows(3000, 20)
    broken = table.set_column(2, "x", pa.array(["no number", *map(str, table["x"].to_pylist()[1:])]))
    broken = broken.set_column(0, "id", pa.array([3000, None, *range(3002, 3020)]))
    pq.write_table(broken, world / "month-3.parquet")
    predict_file(world / "export/model.onnx", world / "month-3.parquet", world / "out.parquet", keep=world / "kept")
    third = joined(world, table)["drops"][2]
    assert [third[name] for name in ("rows", "rejected", "without_key", "matched", "unmatched")] == [20, 1, 1, 18, 0]


def test_another_model_on_the_same_rows_is_an_entry_of_its_own(world):
    other = graph()
    other.metadata_props.add(key="other", value="1")
    write_model(world / "other", other)
    predict_file(world / "other/model.onnx", world / "month-2.parquet", world / "out.parquet", keep=world / "kept")
    found = joined(world, both())
    assert [drop["drop"] for drop in found["drops"]] == ["month-1.parquet", "month-2.parquet", "month-2.parquet"]
    assert len({drop["model_sha256"] for drop in found["drops"]}) == 2


def test_labels_from_a_csv_file_mean_the_same(world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    pv.write_csv(both(), world / "labels.csv")
    assert main(["outcomes", "kept", "labels.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = joined(world, both())
    assert found["kept"]["matched"] == 600
    for task in ("late", "size"):
        assert found["drops"][0]["tasks"][task]["score"]["scores"] == pytest.approx(
            expected["drops"][0]["tasks"][task]["score"]["scores"]
        )
    before = sha256(world / "reports/in_service.json")
    assert main(["outcomes", "kept", "labels.csv"]) == 0
    assert sha256(world / "reports/in_service.json") == before
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "600 kept predictions: 600 with a label row, 0 without"
    assert said[1].startswith("late: roc_auc 0.")


def test_outcomes_beside_a_run_need_no_lock_unless_they_read_what_the_run_may_be_writing(world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    pq.write_table(both(), world / "labels.parquet")
    with hold(world):
        assert main(["outcomes", "kept", "labels.parquet"]) == 0
        assert main(["outcomes", "kept"]) == BusyError.code
        assert "is running it" in capsys.readouterr().err
    assert main(["outcomes", "kept"]) == ArtifactError.code  # no run: data/validated really is missing


def test_a_folder_without_predictions_says_how_to_make_them(world):
    with pytest.raises(DataError, match="holds no kept predictions; make them with `trunkline predict --keep"):
        find_kept(world / "export")
    stranger = world / "kept/drop=x/rows.parquet"
    stranger.parent.mkdir()
    pq.write_table(rows(1), stranger)
    with pytest.raises(DataError, match="names no model"):
        find_kept(world / "kept")


# --- floors -----------------------------------------------------------------------------------------------


def after(root: Path, labels: pa.Table, **floors: float) -> list[str]:
    write_json(root / "reports/in_service.json", joined(root, labels, **floors))
    return floor_failures(root, project_in(root, **floors))


def test_a_sure_fall_is_one_line_with_task_metric_value_interval_and_floor(world):
    (line,) = after(world, both(), late=0.99, size=0.2)
    assert line.startswith("task 'late': roc_auc 0.")
    found = read_json(world / "reports/in_service.json")["drops"][1]["tasks"]["late"]["score"]
    assert f"{found['value']:.4g} in service [{found['interval'][0]:.4g}, {found['interval'][1]:.4g}]" in line
    assert line.endswith("rows of month-2.parquet is below its floor 0.99")


def test_a_value_whose_interval_holds_the_floor_fails_nothing(world):
    joined(world, both())
    score = joined(world, both())["drops"][1]["tasks"]["late"]["score"]
    assert after(world, both(), late=score["value"] + 1e-3) == []
    assert after(world, both(), late=score["interval"][1] + 1e-3) != []


def test_a_floor_says_nothing_of_another_metric_than_the_primary_one(world):
    assert after(world, both(), late=0.99)
    project = parse_project(
        PARAMS
        | {"tasks": {"late": PARAMS["tasks"]["late"] | {"primary": "brier"}}, "drift": {"floors": {"late": 0.01}}}
    )
    assert floor_failures(world, project) == []


def test_only_the_scores_of_the_model_in_question_count(world):
    assert after(world, both(), late=0.99)
    project, measured = project_in(world, late=0.99), read_json(world / "reports/in_service.json")["drops"][1]
    assert len(floor_failures(world, project, measured["model_sha256"])) == 1
    assert floor_failures(world, project, "another") == []
    (world / "reports/in_service.json").write_text("{")
    with pytest.raises(ArtifactError, match="delete it, then `trunkline outcomes`"):
        floor_failures(world, project)


def test_only_the_newest_labelled_drop_counts(world):
    flipped = rows(1000)
    wrong = flipped.set_column(
        4, "was_late", pa.array([None if v is None else not v for v in flipped["was_late"].to_pylist()])
    )
    assert after(world, pa.concat_tables([wrong, rows(2000)]), late=0.6) == []
    assert "month-1.parquet" in after(world, wrong, late=0.6)[0]


def test_a_ceiling_is_for_metrics_where_lower_is_better():
    entry = {"interval": [3.0, 4.0]}
    assert fell(entry, 2.5, higher_is_better=False) and not fell(entry, 3.5, higher_is_better=False)
    assert fell(entry, 4.5, higher_is_better=True) and not fell({"interval": None}, 4.5, higher_is_better=True)


def test_without_outcomes_or_floors_nothing_fails(tmp_path):
    assert floor_failures(tmp_path, project_in(tmp_path, late=0.9)) == []
