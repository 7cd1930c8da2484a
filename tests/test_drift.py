"""Drift after training: what was planted is found and named, and nothing is where there is nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from drops import few, sample
from scipy import stats
from scipy.spatial import distance
from world import params, rows, split_project

from benchmarks.replay.spoil import put
from trunkline import stages
from trunkline.cli.app import main
from trunkline.data.rows import write_rows
from trunkline.errors import ArtifactError, DataError, ParamsError
from trunkline.evaluation.report_drift import drift_view
from trunkline.files import read_json, seal, write_json
from trunkline.monitoring.compare import compare, said
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.distances import by_chance, jensen_shannon, l_infinity, psi
from trunkline.monitoring.in_use import model_in_service
from trunkline.monitoring.new_rows import drift_of
from trunkline.monitoring.profiles import Numbers, Words, bin_edges, from_json, to_json
from trunkline.monitoring.reference import read_reference
from trunkline.monitoring.rows_of_drops import Scored, by_drop
from trunkline.monitoring.series import of_column, profile, rounded
from trunkline.monitoring.targets import read_target
from trunkline.project import Project, load_project, parse_project
from trunkline.serving.feeds import Input, build_feeds
from trunkline.serving.session import open_model
from trunkline.tasks import RegressionTask

SOFT = DriftWatch(psi=0.25, jensen_shannon=0.2, l_infinity=0.05, missing=0.05, unseen=0.02)
CHANCE = np.random.default_rng(7)
NUMBERS = CHANCE.normal(50, 10, 20_000)
WORDS = CHANCE.choice(np.array(["a", "b", "c", "rare"], dtype=object), 20_000, p=[0.5, 0.3, 0.19, 0.01])


def hold(before: Any, now: Any, watch: DriftWatch = SOFT) -> dict[str, Any]:
    """Compare one column, and return its entry."""
    made = profile(np.asarray(before))
    found = compare({("column", "x"): made}, {("column", "x"): made.count(np.asarray(now))}, watch, 1)
    return found[0]


def fired(entry: dict[str, Any]) -> set[str]:
    return {name for name, each in entry["measures"].items() if each["drifted"]}


# --- distances --------------------------------------------------------------------------------------------


def test_distances_are_those_of_scipy():
    before, now = np.array([120, 40, 40, 0]), np.array([30, 30, 30, 10])
    p, q = before / before.sum(), now / now.sum()
    assert jensen_shannon(before, now) == pytest.approx(distance.jensenshannon(p, q, base=2))
    assert l_infinity(before, now) == pytest.approx(distance.chebyshev(p, q))
    smooth = [(counts + 0.5) / (counts + 0.5).sum() for counts in (before, now)]
    symmetric = stats.entropy(smooth[0], smooth[1]) + stats.entropy(smooth[1], smooth[0])
    assert psi(before, now) == pytest.approx(symmetric)


def test_chance_is_the_chi_squared_that_theory_says_where_bins_are_full():
    before, now = np.full(10, 2000), np.full(10, 300)
    expected = stats.chi2.isf(0.001, 9) * (1 / 20_000 + 1 / 3000)
    assert by_chance(psi, before, now, 0.001, np.random.default_rng(0)) == pytest.approx(expected, rel=0.15)


# --- bins -------------------------------------------------------------------------------------------------


def test_bins_hold_a_tenth_each_and_a_tie_has_its_own():
    values = np.sort(np.concatenate([np.zeros(900), np.arange(1, 101)]))
    counts = Numbers.of(values).counts
    assert sum(counts) == 1000 and max(counts) == 900
    assert sorted(counts)[-5:-1] == [25, 25, 25, 25]  # what is not tied is still told apart


def test_edges_do_not_depend_on_the_order_of_rows():
    values = NUMBERS.round()
    assert Numbers.of(values) == Numbers.of(CHANCE.permutation(values))
    assert (np.diff(bin_edges(np.sort(values))) > 0).all()


def test_counting_piece_by_piece_is_counting_at_once():
    for values in (NUMBERS, WORDS):
        made = profile(values)
        assert made.count(values[:333]) + made.count(values[333:]) == made.count(values)


def test_a_profile_survives_json():
    for values in (NUMBERS, WORDS):
        made = profile(values)
        assert from_json(json.loads(json.dumps(to_json(made)))) == made


def test_many_words_are_kept_by_the_commonest_and_the_others_together():
    words = np.array([f"w{place}" for place in range(2000)] + ["w0"] * 10, dtype=object)
    made = Words.of(words)
    assert len(made.counts) == 500 and made.others == 1500 and made.once is None
    assert "unseen" not in hold(words, words)["measures"]  # which words are new cannot be told any more


# --- planted drift ----------------------------------------------------------------------------------------


def test_a_shift_by_a_standard_deviation_is_found():
    assert fired(hold(NUMBERS, NUMBERS[:2000] + 10)) == {"psi", "jensen_shannon"}


def test_another_spread_with_the_same_mean_is_found():
    assert "psi" in fired(hold(NUMBERS, 50 + (NUMBERS[:2000] - 50) * 2.5))


def test_a_change_of_unit_is_found_with_the_default_limits():
    assert fired(hold(NUMBERS, NUMBERS[:2000] * 1000, DriftWatch())) == {"psi", "jensen_shannon"}


def test_a_commoner_word_a_new_word_and_missing_values_are_named():
    assert fired(hold(WORDS, np.where(WORDS == "b", "a", WORDS)[:2000])) >= {"l_infinity"}
    renamed = hold(WORDS, np.where(WORDS == "b", "B", WORDS)[:2000].astype(object))
    assert {"unseen", "l_infinity"} <= fired(renamed) and renamed["unseen_words"] == ["B"]
    assert "(new: 'B')" in said(renamed)
    holed = NUMBERS[:2000].copy()
    holed[:400] = np.nan
    assert fired(hold(NUMBERS, holed)) == {"missing"}


def test_a_constant_column_that_moves_either_way_is_found_and_one_that_stays_is_not():
    constant = np.full(5000, 3.0)
    assert fired(hold(constant, constant[:500])) == set()
    for other in (2.999, 3.001):
        assert "psi" in fired(hold(constant, np.full(500, other)))


def test_a_column_that_lost_all_values_has_no_other_measure_and_the_other_way_round():
    nothing = np.full(500, np.nan)
    assert set(hold(NUMBERS, nothing)["measures"]) == {"missing"} == fired(hold(NUMBERS, nothing))
    assert fired(hold(np.full(5000, np.nan), NUMBERS[:500])) == {"missing"}
    assert fired(hold(np.full(5000, np.nan), nothing)) == set()


def test_a_tiny_drop_is_never_alarming_unless_it_is_plainly_other():
    assert all(not hold(NUMBERS, NUMBERS[start : start + 5])["drifted"] for start in range(0, 500, 5))
    far = hold(NUMBERS, NUMBERS[:5])["measures"]
    assert far["psi"]["value"] > SOFT.psi  # by the limit alone it would have drifted
    assert hold(NUMBERS, np.full(30, 1e6))["drifted"]


@pytest.mark.parametrize("size", [20, 200, 2000])
def test_eight_resamplings_raise_no_alarm(size):
    stream = np.random.default_rng(size)
    ties = np.round(np.abs(NUMBERS - 50) / 10)
    ids = np.array([f"id{place}" for place in stream.integers(0, 400, 20_000)], dtype=object)
    holes = np.where(stream.random(20_000) < 0.1, np.nan, NUMBERS)
    columns = {"numbers": NUMBERS, "words": WORDS, "ties": ties, "ids": ids, "holes": holes}
    profiles = {("column", name): profile(values) for name, values in columns.items()}
    for _ in range(8):
        chosen = stream.integers(0, 20_000, size)
        tallies = {key: profiles[key].count(columns[key[1]][chosen]) for key in profiles}
        found = compare(profiles, tallies, SOFT, 1)
        assert [said(entry) for entry in found if entry["drifted"]] == []


def test_what_is_allowed_is_shown_and_does_not_count():
    entry = hold(NUMBERS, NUMBERS + 100, DriftWatch(allow=["x"]))
    assert entry["allowed"] and not entry["drifted"] and entry["severity"] > 1


def test_the_most_severe_stands_first():
    made = profile(NUMBERS)
    profiles = {("column", name): made for name in ("calm", "wild", "new")}
    tallies = {("column", "calm"): made.count(NUMBERS), ("column", "wild"): made.count(NUMBERS + 50)}
    found = compare(profiles, tallies, SOFT, 1)
    assert [entry["name"] for entry in found] == ["wild", "calm"]  # what was not looked at is left out


def test_a_prediction_that_differs_in_its_last_bits_is_the_same_number():
    constant = np.float32(0.1) * np.ones(100)
    assert (rounded(constant) == rounded(np.nextafter(np.float32(0.1), np.float32(1)) * np.ones(100))).all()


def test_params_that_name_nobody_are_refused():
    with pytest.raises(ParamsError, match=r"drift\.allow: 'agee' is neither an input nor a task; did you mean 'age'"):
        parse_project(params(drift={"allow": ["agee"]}))
    with pytest.raises(ParamsError, match=r"drift\.floors: 'chrun' is no task; did you mean 'churn'"):
        parse_project(params(drift={"floors": {"chrun": 0.5}}))


# --- real months ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spring() -> dict[str, Any]:
    """The columns and labels of the demo as a model of January to August knows them."""
    table = pa.concat_tables([sample(month, 4000) for month in range(1, 9)])
    return {name: profile(values) for name, values in real(table).items()}


def real(table: pa.Table) -> dict[str, Any]:
    project = few()
    inputs = [Input(name, column.kind) for name, column in project.columns.items()]
    feeds, _ = build_feeds(table, inputs)
    found = {entry.name: of_column(entry.kind, feeds[entry.name]) for entry in inputs}
    return found | {
        task.target: read_target(task.target, table[task.target], task.kind, []) for task in project.tasks.values()
    }


def drifted(spring: dict[str, Any], table: pa.Table) -> list[str]:
    tallies = {("column", name): spring[name].count(values) for name, values in real(table).items()}
    found = compare({("column", name): made for name, made in spring.items()}, tallies, DriftWatch(), 1)
    return sorted(entry["name"] for entry in found if entry["drifted"])


@pytest.mark.parametrize("month", [9, 10, 11, 12])
def test_no_real_month_and_none_of_eight_samples_of_it_raises_an_alarm(spring, month):
    sizes = [None, 30, 30, 30, 300, 300, 300, 3000, 3000]
    assert [drifted(spring, sample(month, size or 9000, seed)) for seed, size in enumerate(sizes)] == [[]] * 9


def test_what_validation_lets_pass_is_found_in_a_real_month(spring):
    month = sample(9, 2000)
    celsius = put(month, "temp", pc.divide(pc.subtract(month["temp"], 32.0), 1.8))
    assert drifted(spring, celsius) == ["temp"]
    swapped = put(month, "origin", pc.if_else(pc.equal(month["origin"], "JFK"), "LGA", month["origin"]))
    assert drifted(spring, swapped) == ["origin"]
    renamed = put(month, "carrier", pc.replace_substring(month["carrier"], "UA", "United"))
    assert drifted(spring, renamed) == ["carrier"]
    stuck = put(month, "wind_speed", pa.array([10.35702] * 2000))
    assert drifted(spring, stuck) == ["wind_speed"]


# --- a model and its rows ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Project]:
    root = tmp_path_factory.mktemp("drift")
    project = split_project(root, evaluation={"draws": 200}, training={"epochs": 2})
    stages.encode(root, project)
    stages.train(root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    stages.export(root, project)
    return root, project


def held(made: tuple[Path, Project], table: pa.Table, watch: DriftWatch = SOFT) -> dict[tuple[str, str], Any]:
    """Hold rows against the exported model; return the entries by what they are of."""
    path = made[0] / "models/export/model.onnx"
    model = open_model(path)
    found = drift_of(model, read_reference(path, model.card), [table], [], watch, 1)
    return {(entry["of"], entry["name"]): entry for entry in found["found"]}


def test_rows_of_the_same_world_have_no_drift_in_columns_predictions_and_labels(made):
    found = held(made, rows(1000, seed=5))
    assert set(found) == {
        *(("column", name) for name in ("age", "income", "city", "since")),
        *((of, task) for of in ("prediction", "label") for task in ("churn", "plan", "spend")),
    }
    assert [said(entry) for entry in found.values() if entry["drifted"]] == []


def test_each_planted_drift_of_a_file_is_found_where_it_is(made):
    table = rows(1000, seed=5)
    older = held(made, put(table, "age", pc.add(table["age"], 36.0)))
    assert {key for key, entry in older.items() if entry["drifted"]} >= {("column", "age"), ("prediction", "churn")}
    assert not older["column", "income"]["drifted"] and not older["label", "churn"]["drifted"]
    renamed = held(made, put(table, "city", pc.replace_substring(table["city"], "Wien", "Vienna")))
    assert renamed["column", "city"]["unseen_words"] == ["Vienna"]
    flipped = held(made, put(table, "churned", pc.invert(table["churned"])))
    assert {key for key, entry in flipped.items() if entry["drifted"]} == {("label", "churn")}
    timeless = held(made, put(table, "since", pa.nulls(1000, table["since"].type)))
    assert fired(timeless["column", "since"]) == {"missing"}


def test_labels_count_alike_in_every_spelling_and_may_be_absent(made):
    table = rows(500, seed=5)
    spelled = put(table, "churned", pc.if_else(table["churned"], "1", "0"))
    assert held(made, spelled)["label", "churn"] == held(made, table)["label", "churn"]
    assert ("label", "spend") not in held(made, table.drop_columns(["spent"]))


def test_the_report_of_the_run_holds_newest_rows_against_training_rows(made):
    root, _ = made
    drift = read_json(root / "reports/drift.json")
    assert drift["training_rows"] == 1000 and drift["newest"] == {"drops": ["drop.parquet"], "rows": 1000}
    assert [entry for entry in drift["found"] if entry["drifted"]] == []
    table = pq.read_table(root / "data/split/rows.parquet")
    of_drop = drift["by_drop"][0]["tasks"]["churn"]["labels"]
    assert of_drop["level"] == pytest.approx(pc.mean(table["churned"]).as_py())
    training = table.filter(pc.equal(table["side"], "train"))
    assert drift["reference"]["labels"]["churn"]["counts"]["true"] == pc.sum(training["churned"]).as_py()


def test_the_score_by_drop_is_of_rows_outside_training(made):
    root, _ = made
    found = read_json(root / "reports/drift.json")["by_drop"][0]["tasks"]["spend"]["score"]
    table = pq.read_table(root / "data/split/rows.parquet")
    others = table.filter(pc.and_(pc.not_equal(table["side"], "train"), pc.is_valid(table["spent"])))
    assert found["rows"] == len(others) and found["interval"][0] < found["value"] < found["interval"][1]
    model = open_model(root / "models/export/model.onnx")
    predicted = model.run(build_feeds(others, model.inputs)[0])["spend.value"]
    truth = others["spent"].to_numpy()
    score = 1 - ((truth - predicted[:, 0]) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert found["value"] == pytest.approx(score, abs=1e-4)


def test_the_reference_is_small_and_holds_no_row(made):
    path = made[0] / "models/export/reference.json"
    assert path.stat().st_size < 20_000
    assert "row-" not in path.read_text()  # the keys


def test_a_reference_that_is_not_the_models_own_is_refused(made, tmp_path):
    root, _ = made
    for name in ("model.onnx", "card.json", "reference.json"):
        (tmp_path / name).write_bytes((root / "models/export" / name).read_bytes())
    content = read_json(tmp_path / "reference.json")
    write_json(tmp_path / "reference.json", content | {"rows": 1})
    model = open_model(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match=r"reference\.json: is not the file that card\.json names"):
        read_reference(model.path, model.card)
    with pytest.raises(ArtifactError, match=r"names no reference\.json; export the model again"):
        read_reference(model.path, {})


def test_the_command_says_what_drifted(made, tmp_path, capsys, monkeypatch):
    root, _ = made
    monkeypatch.chdir(tmp_path)
    table = rows(400, seed=5)
    pq.write_table(put(table, "age", pc.multiply(table["age"], 1000.0)), tmp_path / "new.parquet")
    words = ["drift", str(root / "models/export/model.onnx"), "new.parquet"]
    assert main(words) == 0
    said_lines = capsys.readouterr().out.splitlines()
    assert said_lines[0] == "400 new rows against 1000 training rows"
    assert any(line.startswith("column 'age' drifted: ") for line in said_lines)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert ("column", "age") in [(entry["of"], entry["name"]) for entry in found["found"] if entry["drifted"]]
    assert found["newest"] == {"rows": 400, "rejected": 0}
    (tmp_path / "drops").mkdir()
    whole = pq.read_table(tmp_path / "new.parquet")
    for name, piece in {"one": whole.slice(0, 150), "two": whole.slice(150)}.items():
        pq.write_table(piece, tmp_path / f"drops/{name}.parquet")
    assert main([*words[:2], "drops", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_without_words_the_newest_drop_of_the_project_is_held_against_the_model_in_service(
    made, tmp_path, capsys, monkeypatch
):
    root, _ = made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("{}")
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    shutil.copytree(root / "models/export", tmp_path / "models/registry/model/3")
    write_json(tmp_path / "models/registry/model/aliases.json", {"champion": 3, "candidate": 4})
    new = put(rows(300, seed=6), "city", pa.array(["Rom"] * 300))
    first, second = (
        table.append_column("drop", pa.array([name] * 300))
        for name, table in {"first": rows(300, seed=5), "second": new}.items()
    )
    with write_rows(tmp_path / "data/validated/rows.parquet", first.schema) as write:
        write(first)
        write(second)
    seal(tmp_path / "data/validated", ["rows.parquet"])
    write_json(tmp_path / "reports/in_service.json", {"says": ["churn: roc_auc 0.7"]})
    assert main(["drift"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "300 new rows of second against 1000 training rows"
    assert any(line.startswith("column 'city' drifted: ") and "(new: 'Rom')" in line for line in lines)
    assert lines[-1] == "in service: churn: roc_auc 0.7"


def test_without_a_champion_the_last_export_serves(tmp_path):
    assert model_in_service(tmp_path, "m") == tmp_path / "models/export/model.onnx"


def test_a_file_that_lacks_an_input_is_refused_by_name(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(rows(50).drop_columns(["city"]), tmp_path / "new.parquet")
    assert main(["drift", str(made[0] / "models/export/model.onnx"), "new.parquet"]) == DataError.code
    assert "new.parquet: column 'city' is missing" in capsys.readouterr().err


def test_a_project_whose_params_say_nothing_of_drift_has_the_defaults(made):
    assert load_project(made[0]).drift == DriftWatch()


# --- the section of the report ----------------------------------------------------------------------------


def drop(number: int, level: float, score: float | None) -> dict[str, Any]:
    labels = {"labelled": 100, "level": level, "interval": [level - 0.02, level + 0.02]}
    found = {"rows": 90, "metric": "roc_auc", "value": score, "interval": None, "scores": {}} if score else None
    return {"drop": f"<{number}>", "tasks": {"late": {"labels": labels, "predicted": level, "score": found}}}


def view(**changes: Any) -> dict[str, Any] | None:
    measures = {"psi": {"value": 8.0, "limit": 4.0, "chance": 0.1, "drifted": True}}
    entry = {"of": "column", "rows": 90, "allowed": False, "measures": measures, "drifted": True, "severity": 2.0}
    calm = entry | {"drifted": False, "severity": 0.5}
    drift = {
        "newest": {"drops": ["<3>"], "rows": 90},
        "training_rows": 1000,
        "found": [entry | {"name": "temp"}, *(calm | {"name": f"c{place}"} for place in range(20))],
        "by_drop": [drop(1, 0.1, None), drop(2, 0.2, 0.8), drop(3, 0.3, 0.7)],
    }
    return drift_view(drift | changes)


def test_the_section_shows_what_drifted_first_and_says_how_much_it_leaves_out():
    shown = view()
    assert [entry["name"] for entry in shown["entries"]][:2] == ["temp", "c0"]
    assert (len(shown["entries"]), shown["more"], shown["drifted"]) == (12, 9, 1)


def test_every_task_has_its_labels_and_its_scores_drawn_over_the_drops_and_no_word_of_the_users_in_it():
    (task,) = view()["tasks"]
    assert task["labels"].count("<svg") == task["score"].count("<svg") == 1
    assert "&lt;" not in task["labels"] + task["score"] and task["said"] == "0.8000 to 0.7000"
    assert view(by_drop=[drop(1, 0.1, 0.5)])["tasks"] == []


def test_without_a_record_there_is_no_section():
    assert drift_view({}) is None and drift_view(None) is None


@pytest.mark.parametrize(("fresh", "rows"), [(49, None), (50, 50)])
def test_a_few_rows_of_a_drop_are_no_score(fresh, rows):
    numbers = np.random.default_rng(0).normal(size=200)
    task = RegressionTask(kind="regression", target="y")
    scored = Scored(task, task.fit("y", numbers), numbers, (numbers + 0.1)[:, None])
    training = np.arange(200) >= fresh
    found = by_drop("d", np.ones(200, dtype=np.bool_), training, {"y": scored}, 1)["tasks"]["y"]
    assert (found["score"] and found["score"]["rows"]) == rows
    assert found["labels"]["labelled"] == 200


def test_labels_of_any_spelling_are_those_that_ingest_reads():
    cells = pa.chunked_array([["yes", "No", "TRUE", "0", ""]])
    assert read_target("y", cells, "binary", []).tolist() == ["true", "false", "true", "false", ""]
