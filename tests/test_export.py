"""The exported file: raw rows in, what torch says out, the same bytes everywhere."""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from world import PARAMS, split_project

from trunkline import stages
from trunkline.columns import KINDS
from trunkline.columns.timestamp import MISSING_TIME
from trunkline.errors import GateError
from trunkline.export.graph import Model
from trunkline.export.parity import boundary_feeds, check_parity
from trunkline.export.publish import check_scores
from trunkline.files import read_json, seal, sha256, write_json
from trunkline.pipeline.release import release
from trunkline.project import Project, load_project
from trunkline.training.arm import load_arm

THIS = Path(__file__).parents[1]


def make(root: Path, **changes: Any) -> Project:
    project = split_project(root, **changes)
    for name in ("encode", "train"):
        stages.STAGES[name](root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    return project


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a place with blanks")
    stages.export(root, make(root))
    return root


def session_of(root: Path) -> onnxruntime.InferenceSession:
    content = (root / "models" / "export" / "model.onnx").read_bytes()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def raw_test_rows(root: Path) -> tuple[dict[str, np.ndarray[Any, Any]], Any]:
    """Feed the test rows as somebody would who knows only params.yaml and the contract."""
    table = pq.read_table(root / "data" / "split" / "rows.parquet")
    test = table.filter(pc.equal(table["side"], "test")).to_pandas()
    feeds: dict[str, np.ndarray[Any, Any]] = {}
    for name, column in PARAMS["columns"].items():
        values = test[name]
        if column["kind"] == "numeric":
            feeds[name] = values.to_numpy(dtype=np.float64)[:, None]
        elif column["kind"] == "categorical":
            feeds[name] = values.fillna("").to_numpy(dtype=object)[:, None]
        else:
            seconds = values.to_numpy(dtype="datetime64[s]").astype(np.int64)
            feeds[name] = np.where(values.isna(), MISSING_TIME, seconds)[:, None]
    return feeds, test


def test_inputs_and_outputs_are_what_the_contract_says(exported: Path) -> None:
    session = session_of(exported)
    assert {i.name: (i.type, i.shape) for i in session.get_inputs()} == {
        "age": ("tensor(double)", ["rows", 1]),
        "income": ("tensor(double)", ["rows", 1]),
        "city": ("tensor(string)", ["rows", 1]),
        "since": ("tensor(int64)", ["rows", 1]),
    }
    assert {o.name: (o.type, o.shape) for o in session.get_outputs()} == {
        "churn.probability": ("tensor(float)", ["rows", 1]),
        "plan.probability": ("tensor(float)", ["rows", 3]),
        "spend.value": ("tensor(float)", ["rows", 1]),
        "churn.label": ("tensor(string)", ["rows", 1]),
        "plan.label": ("tensor(string)", ["rows", 1]),
    }


def test_an_outsider_recomputes_the_reported_scores_from_the_file(exported: Path) -> None:
    from sklearn import metrics

    feeds, test = raw_test_rows(exported)
    names = [output.name for output in session_of(exported).get_outputs()]
    found = dict(zip(names, session_of(exported).run(names, feeds), strict=True))
    reported = read_json(exported / "reports" / "evaluation.json")["tasks"]
    known = test["churned"].notna().to_numpy()
    truth, probability = test["churned"][known].astype(int), found["churn.probability"][known, 0]
    assert metrics.roc_auc_score(truth, probability) == pytest.approx(
        reported["churn"]["exported"]["roc_auc"], abs=1e-4
    )
    assert metrics.brier_score_loss(truth, probability) == pytest.approx(
        reported["churn"]["exported"]["brier"], abs=1e-4
    )
    known = test["spent"].notna().to_numpy()
    score = metrics.r2_score(test["spent"][known], found["spend.value"][known, 0])
    assert score == pytest.approx(reported["spend"]["exported"]["r2"], abs=1e-4)
    known = test["plan_name"].notna().to_numpy()
    right = metrics.accuracy_score(test["plan_name"][known], found["plan.label"][known, 0])
    assert right == pytest.approx(reported["plan"]["exported"]["accuracy"], abs=1e-4)
    labels = np.where(found["churn.probability"] >= 0.5, "true", "false")
    assert (found["churn.label"] == labels).all()


def test_a_row_says_the_same_alone_and_among_others(exported: Path) -> None:
    feeds, _ = raw_test_rows(exported)
    session = session_of(exported)
    together = session.run(["churn.probability", "spend.value"], feeds)
    for row in range(0, 60, 7):
        alone = session.run(["churn.probability", "spend.value"], {k: v[row : row + 1] for k, v in feeds.items()})
        assert alone[0][0, 0] == pytest.approx(together[0][row, 0], abs=1e-6)
        assert alone[1][0, 0] == pytest.approx(together[1][row, 0], abs=1e-3)


def test_a_row_of_nothing_but_missing_values_gets_a_finite_answer(exported: Path) -> None:
    blank = {"age": np.nan, "income": -np.inf, "city": "", "since": MISSING_TIME}
    types: dict[str, Any] = {"age": np.float64, "income": np.float64, "city": object, "since": np.int64}
    feeds = {name: np.array([[value]], dtype=types[name]) for name, value in blank.items()}
    probability, value = session_of(exported).run(["churn.probability", "spend.value"], feeds)
    assert 0 < probability[0, 0] < 1
    assert math.isfinite(value[0, 0])


def test_the_file_names_no_machine_and_is_one_file(exported: Path) -> None:
    content = (exported / "models" / "export" / "model.onnx").read_bytes()
    for word in (b"/tmp", b"/root", b"/home", b"stack_trace", b".py", str(exported).encode(), str(THIS).encode()):
        assert word not in content
    model = onnx.load_from_string(content)
    assert {entry.key.split(".")[0] for entry in model.metadata_props} == {"trunkline"}
    assert not model.functions
    assert all(t.data_location != onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20), ("ai.onnx.ml", 4)]
    names = {"model.onnx", "card.json", "MODEL_CARD.md", "sample.parquet", "reference.json", "manifest.json"}
    assert {path.name for path in (exported / "models" / "export").iterdir()} == names


def test_another_folder_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    stages.export(tmp_path, make(tmp_path))
    for name in (
        "models/export/model.onnx",
        "models/export/card.json",
        "reports/evaluation.json",
        "models/export/MODEL_CARD.md",
        "models/export/reference.json",
        "reports/drift.json",
    ):
        assert sha256(tmp_path / name) == sha256(exported / name), name


def test_the_card_tells_the_files_hash_and_answers(exported: Path) -> None:
    card = read_json(exported / "models" / "export" / "card.json")
    assert card["sha256"] == sha256(exported / "models" / "export" / "model.onnx")
    assert [entry["name"] for entry in card["inputs"]] == list(PARAMS["columns"])
    assert [entry["name"] for entry in card["outputs"]] == [o.name for o in session_of(exported).get_outputs()]
    assert card["key"] == ["id"]
    assert all(len(values) == 3 for values in card["golden"]["inputs"].values())
    assert [values[-1] for values in card["golden"]["inputs"].values()] == [None, None, "", None]
    assert card["parity"]["real_rows"] == 200
    assert card["parity"]["boundary_rows"] >= 300


def test_the_sample_holds_keys_and_inputs_and_no_target(exported: Path) -> None:
    sample = pq.read_table(exported / "models" / "export" / "sample.parquet")
    assert sample.column_names == ["id", "age", "income", "city", "since"]
    assert sample.num_rows == 100


def sabotage(exported: Path) -> tuple[Model, bytes, Any, Any, dict[str, np.ndarray[Any, Any]]]:
    from trunkline.data.encode import read_encoder

    encoder = read_encoder(exported / "data" / "encoded")
    arm = load_arm(exported / "models" / "shared", encoder)
    corrections = [arm.corrections[0][name] for name in arm.states]
    model = Model(encoder, arm.networks[0], list(arm.states.values()), corrections).eval()
    feeds, _ = raw_test_rows(exported)
    return model, (exported / "models" / "export" / "model.onnx").read_bytes(), encoder, arm.states, feeds


def test_parity_holds_on_the_file_as_it_is(exported: Path) -> None:
    model, graph, encoder, states, feeds = sabotage(exported)
    found = check_parity(model, graph, encoder, states, feeds, 0, 1)
    assert max(found["largest_difference"].values()) < 1e-3


def test_a_weight_that_moved_by_a_thousandth_fails_parity(exported: Path) -> None:
    model, graph, encoder, states, feeds = sabotage(exported)
    with torch.no_grad():
        model.network.heads.bias[0] += 1e-3
    with pytest.raises(GateError, match=r"task 'churn': the ONNX file gives .* where torch gives"):
        check_parity(model, graph, encoder, states, feeds, 0, 1)


def test_a_day_counted_through_float32_fails_parity_on_boundary_rows(exported: Path) -> None:
    """The fault that rows on whole hours never show: 23:59:59 lands on the next day."""
    model, graph, encoder, states, feeds = sabotage(exported)
    prepare = model.prepare.timestamp
    assert prepare is not None
    original = type(prepare).forward

    def through_float32(self: Any, raw: torch.Tensor) -> torch.Tensor:
        known = raw != MISSING_TIME
        return original(self, torch.where(known, raw.to(torch.float32).to(torch.int64), raw))

    hourly = {name: value[:200] for name, value in feeds.items()}
    type(prepare).forward = through_float32  # type: ignore[method-assign]
    try:
        with pytest.raises(GateError, match="the ONNX file gives"):
            check_parity(model, graph, encoder, states, {k: v[:0] for k, v in hourly.items()}, 0, 1)
    finally:
        type(prepare).forward = original  # type: ignore[method-assign]


def test_boundary_rows_hold_every_edge_of_every_column(exported: Path) -> None:
    _, _, encoder, _, _ = sabotage(exported)
    feeds = boundary_feeds(encoder, np.random.default_rng(0))
    for name, state in encoder.states.items():
        edges = KINDS[state["kind"]].boundary(state)
        found = {repr(cell) for cell in feeds[name][:, 0].tolist()}
        assert {repr(edge) for edge in np.array(edges, dtype=feeds[name].dtype).tolist()} <= found
    assert np.isnan(feeds["age"]).any() and np.isinf(feeds["age"]).any()
    assert "" in feeds["city"] and "never seen" in feeds["city"]
    assert MISSING_TIME in feeds["since"]


def test_scores_that_the_file_does_not_reach_stop_the_export(exported: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(exported, tmp_path / "copy")
    root = tmp_path / "copy"
    shutil.rmtree(root / "models" / "export")
    evaluation = read_json(root / "reports" / "evaluation.json")
    evaluation["tasks"]["churn"]["exported"]["log_loss"] += 0.001
    write_json(root / "reports" / "evaluation.json", evaluation)
    with pytest.raises(GateError, match=r"task 'churn': the ONNX file scores log_loss"):
        stages.export(root, load_project(root))
    assert not (root / "models" / "export").exists()


def test_a_row_at_a_tie_stops_no_export(exported: Path) -> None:
    tasks = {"churn": load_project(exported).tasks["churn"]}
    states = {"churn": read_json(exported / "models" / "shared" / "run.json")["tasks"]["churn"]}
    labels, found = {"churn": np.array([0.0, 1.0] * 91)}, np.linspace(0.1, 0.9, 182)[:, None]
    score = tasks["churn"].scores(labels["churn"], found, states["churn"])["roc_auc"]
    found[90:92] = found[91:89:-1]  # two neighbours, in the file the other way round
    for reported, refused in ((score, False), (score + 0.02, True)):
        evaluation = {"tasks": {"churn": {"exported": {"roc_auc": reported}}}}
        with pytest.raises(GateError, match="roc_auc") if refused else contextlib.nullcontext():
            check_scores({"churn.probability": found}, labels, tasks, states, evaluation)


def test_a_task_without_a_test_label_has_no_score_that_the_file_must_reach(exported: Path) -> None:
    project, states = load_project(exported), read_json(exported / "models" / "shared" / "run.json")["tasks"]
    evaluation = {"tasks": {"spend": {"exported": {"r2": None}}}}
    found, labels = {"spend.value": np.zeros((3, 1))}, {"spend": np.full(3, np.nan)}
    check_scores(found, labels, project.tasks, {"spend": states["spend"]}, evaluation)
    with pytest.raises(GateError, match="spend"):
        check_scores(found, {"spend": np.arange(3.0)}, project.tasks, {"spend": states["spend"]}, evaluation)


@pytest.mark.parametrize("kept", [["age"], ["city"], ["since"]])
def test_a_single_column_of_any_kind_is_enough(tmp_path: Path, kept: list[str]) -> None:
    project = make(tmp_path, count=400)
    columns = {name: column for name, column in project.columns.items() if name in kept}
    alone = project.model_copy(update={"columns": columns})
    for name in ("encode", "train"):
        stages.STAGES[name](tmp_path, alone)
    for task in alone.tasks:
        stages.baseline(tmp_path, alone, task)
    stages.evaluate(tmp_path, alone)
    stages.export(tmp_path, alone)
    assert [entry.name for entry in session_of(tmp_path).get_inputs()] == kept


def test_a_model_that_learned_from_shuffled_labels_does_not_take_over(exported: Path, tmp_path: Path) -> None:
    root = shutil.copytree(exported, tmp_path / "project")
    project, split = load_project(root), root / "data" / "split"
    assert release(root).champion == 1
    rows = pq.read_table(split / "rows.parquet")
    training, shuffle = pc.equal(rows["side"], "train").to_numpy(), np.random.default_rng(0).permutation
    targets = [task.target for task in project.tasks.values()]
    for target in targets:
        labels = rows[target].to_numpy().astype(object)
        labels[training] = shuffle(labels[training])
        place, kind = rows.schema.get_field_index(target), rows.schema.field(target).type
        rows = rows.set_column(place, target, pa.array(labels, kind, from_pandas=True))
    pq.write_table(rows, split / "rows.parquet", write_page_checksum=True)
    seal(split, ["rows.parquet"])
    for name in ("encode", "train", "evaluate", "export"):
        stages.STAGES[name](root, project)
    decision = release(root)
    assert (decision.promoted, decision.champion, decision.version) == (False, 1, 2)
    assert all(each.interval[1] < 0 for each in decision.comparison.tasks)
