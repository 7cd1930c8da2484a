"""Tasks that exist only where another has a value: labels, losses, products, and the exported file."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from training_labels import that_are_counted_alike
from world import write_params

from trunkline import stages
from trunkline.data.encode import Encoded
from trunkline.errors import DataError, ParamsError
from trunkline.files import read_json, seal
from trunkline.monitoring.in_service import outcomes
from trunkline.project import Project, parse_project
from trunkline.serving.kept import find_kept
from trunkline.serving.predict import predict_file
from trunkline.tasks._given import JointLogits, both
from trunkline.tasks._modules import Correction, Losses, Predict
from trunkline.tasks.given import GOLDEN, head_labels, parents_first

ROWS = 2400
TASKS: dict[str, Any] = {
    # Declared in the wrong order on purpose.
    "returned": {"kind": "binary", "target": "returned", "given": {"buy": True}},
    "buy": {"kind": "binary", "target": "bought", "given": {"click": True}},
    "paid": {"kind": "regression", "target": "paid", "unit": "euro", "given": {"buy": True}},
    "click": {"kind": "binary", "target": "clicked"},
    "page": {"kind": "multiclass", "target": "page"},
    "search": {"kind": "binary", "target": "searched", "given": {"page": "home"}},
    "leave": {"kind": "binary", "target": "left_site", "given": {"click": False}},
}
CONTENT: dict[str, Any] = {
    "version": 1,
    "data": {"key": ["id"]},
    "columns": {"x": {"kind": "numeric"}, "z": {"kind": "numeric"}, "w": {"kind": "categorical"}},
    "tasks": TASKS,
    "split": {"kind": "random"},
    "validation": {"min_rows": 1, "min_class_rows": 1},
    "trunk": {"width": 16, "depth": 2, "embedding": 4},
    "training": {"seeds": 1, "epochs": 3, "batch": 128, "learning_rate": 0.02, "device": "cpu"},
    "monitor": {"every": 5, "lookahead": 10},
    "calibration": {"coverage": {"buy": 0.8, "paid": 0.8}},
    "evaluation": {"draws": 200},
    "export": {"parity_rows": 200, "golden_rows": 3},
}


def chance(logit: Any) -> Any:
    return 1 / (1 + np.exp(-logit))


def rows(zeros: Iterable[str] = TASKS, lost: float = 0.1, seed: int = 0) -> pa.Table:
    """Clicks, purchases and returns; where a task does not exist its label is empty, or false for those of `zeros`."""
    draw = np.random.default_rng(seed)
    x, z = draw.normal(size=(2, ROWS))
    word = draw.integers(0, 3, ROWS)
    click = draw.random(ROWS) < chance(x + 0.5 * word - 0.5)
    buy = click & (draw.random(ROWS) < chance(z + x - 0.3))
    returned = buy & (draw.random(ROWS) < chance(z - 0.5))
    paid = 20 + 5 * z + draw.normal(size=ROWS)
    page = np.array(["home", "list", "item"], dtype=object)[draw.integers(0, 3, ROWS)]
    searched = (page == "home") & (draw.random(ROWS) < chance(x))
    left = ~click & (draw.random(ROWS) < chance(-z))

    def label(name: str, values: Any, exists: Any, kind: pa.DataType) -> pa.Array:
        known = (draw.random(ROWS) >= lost) & (exists | (name in zeros))
        return pa.array(values, type=kind, mask=~known)

    return pa.table(
        {
            "id": pa.array([f"row-{place}" for place in range(ROWS)]),
            "x": pa.array(x),
            "z": pa.array(z),
            "w": pa.array(np.array(["a", "b", "c"], dtype=object)[word]),
            "clicked": label("click", click, True, pa.bool_()),
            "bought": label("buy", buy, click, pa.bool_()),
            "returned": label("returned", returned, buy, pa.bool_()),
            "paid": label("paid", np.where(buy, paid, 0.0), buy, pa.float64()),
            "page": pa.array(page),
            "searched": label("search", searched, page == "home", pa.bool_()),
            "left_site": label("leave", left, ~click, pa.bool_()),
        }
    )


def declared(tasks: Iterable[str] = TASKS, **changes: dict[str, Any]) -> dict[str, Any]:
    """Return params with some of the tasks; `buy={"given": None}` changes that one."""
    content = copy.deepcopy(CONTENT)
    content["tasks"] = {name: {**TASKS[name], **changes.get(name, {})} for name in tasks}
    if "paid" not in content["tasks"]:
        content["calibration"] = {}
    return content


def lay(root: Path, content: dict[str, Any], table: pa.Table) -> Project:
    project = write_params(root, content)
    side = np.repeat(["train", "validation", "test"], [ROWS - 1200, 600, 600])
    table = table.append_column("drop", pa.array(["drop.parquet"] * ROWS)).append_column("side", pa.array(side))
    folder = root / "data" / "split"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "rows.parquet", row_group_size=700, write_page_checksum=True)
    seal(folder, ["rows.parquet"])
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "validation.json").write_text("{}")
    return project


def run(root: Path, project: Project) -> None:
    for name in ("rebalance", "encode", "train"):
        stages.STAGES[name](root, project)
    for task in project.tasks:
        stages.baseline(root, project, task)
    stages.evaluate(root, project)
    stages.export(root, project)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("given")
    run(root, lay(root, declared(search={"conditional": "entire_space"}), rows(zeros=("leave", "search"))))
    return root


def outputs_of(root: Path) -> tuple[dict[str, np.ndarray[Any, Any]], Any]:
    """Return what the file gives for the test rows, and those rows, as an outsider would get them."""
    table = pq.read_table(root / "data" / "split" / "rows.parquet")
    test = table.filter(pc.equal(table["side"], "test")).to_pandas()
    session = onnxruntime.InferenceSession((root / "models" / "export" / "model.onnx").read_bytes())
    feeds = {name: test[name].to_numpy(dtype=np.float64)[:, None] for name in ("x", "z")}
    feeds["w"] = test["w"].to_numpy(dtype=object)[:, None]
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True)), test


def test_no_child_in_the_file_is_likelier_than_its_parent_to_the_last_bit(finished: Path) -> None:
    found, _ = outputs_of(finished)
    click, buy = found["click.probability"], found["buy.probability"]
    assert (buy <= click).all()
    assert (found["leave.probability"] <= 1 - click).all()
    assert (found["returned.probability"] <= buy).all()
    home = read_json(finished / "data" / "encoded" / "labels" / "page.json")["state"]["classes"].index("home")
    assert (found["search.probability"] <= found["page.probability"][:, [home]]).all()
    assert np.array_equal(buy, click * found["buy.conditional"])
    assert "click.conditional" not in found
    assert "paid.conditional" not in found


def test_an_outsider_recomputes_the_joint_and_the_conditional_scores_from_the_file(finished: Path) -> None:
    found, test = outputs_of(finished)
    reported = read_json(finished / "reports" / "evaluation.json")["tasks"]
    clicked, bought = (test[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("clicked", "bought"))
    share = read_json(finished / "data" / "encoded" / "labels" / "buy.json")["head"]["given"]["labelled"]
    places = np.cumsum(clicked == 0) - 1
    kept = (clicked == 0) & ((places * GOLDEN) % 1 < share)  # no click is no purchase, whatever the column says
    truth = np.where(kept, 0.0, np.where(clicked == 1, bought, np.nan))
    for name, of_task in (("click", clicked), ("buy", truth)):
        known = ~np.isnan(of_task)
        score = metrics.roc_auc_score(of_task[known], found[f"{name}.probability"][known, 0])
        assert score == pytest.approx(reported[name]["exported"]["roc_auc"], abs=1e-4)
        loss = metrics.log_loss(of_task[known], found[f"{name}.probability"][known, 0].astype(float))
        assert loss == pytest.approx(reported[name]["exported"]["log_loss"], abs=1e-4)
        assert reported[name]["labelled"]["test"] == known.sum()
    bought = (bought == 1) & (clicked == 1) & test["paid"].notna().to_numpy()
    score = metrics.r2_score(test["paid"][bought], found["paid.value"][bought, 0])
    assert score == pytest.approx(reported["paid"]["exported"]["r2"], abs=1e-4)
    assert reported["paid"]["labelled"]["test"] == bought.sum()


def test_the_conditional_head_learns_what_holds_where_the_parent_has_the_value(finished: Path) -> None:
    found, test = outputs_of(finished)
    clicked = test["clicked"].eq(True).to_numpy() & test["bought"].notna().to_numpy()
    bought = test["bought"][clicked].astype(float)
    conditional = found["buy.conditional"][clicked, 0]
    assert metrics.roc_auc_score(bought, conditional) > 0.7
    assert abs(conditional.mean() - bought.mean()) < 0.08
    reported = read_json(finished / "reports" / "evaluation.json")["tasks"]["buy"]
    assert reported["given"] == {"click": True}
    assert abs(reported["prevalence"] - 0.28) < 0.05  # of the joint, not of the conditional
    skill = reported["skill"]
    assert abs(skill["shared"] - skill["alone"]) < 0.15  # the same question on the same rows


def test_card_and_model_card_say_what_a_child_is(finished: Path) -> None:
    card = read_json(finished / "models" / "export" / "card.json")
    described = {output["name"]: output for output in card["outputs"]}
    assert described["buy.probability"]["given"] == {"click": True}
    assert described["buy.conditional"]["part"] == "conditional"
    words = (finished / "models" / "export" / "MODEL_CARD.md").read_text()
    assert "| `buy.probability` | calibrated probability that click is true and buy is true |" in words
    assert "| `leave.conditional` | calibrated probability that leave is true where click is false |" in words
    assert "| `paid.value` | paid where buy is true, in euro |" in words
    measured = card["tasks"]["buy"]["coverage"]
    assert measured["coverage"] > 0.7  # of the joint's set, on the joint's rows


def test_empty_and_false_where_a_child_does_not_exist_are_the_same(tmp_path: Path) -> None:
    made = []
    for zeros in (TASKS, ()):
        root = tmp_path / str(len(zeros))
        root.mkdir()
        stages.encode(root, lay(root, declared(), rows(zeros=zeros, lost=0.0)))
        folder = root / "data" / "encoded" / "labels"
        made.append({name: [(folder / f"{name}.{kind}").read_bytes() for kind in ("npy", "json")] for name in TASKS})
    assert made[0] == made[1]


def test_missing_labels_make_the_joint_no_rarer(tmp_path: Path) -> None:
    full, holed = rows(zeros=(), lost=0.0), rows(zeros=(), lost=0.0)
    gone = pa.array(np.random.default_rng(3).random(ROWS) < 0.5)
    place = holed.column_names.index("bought")
    holed = holed.set_column(place, "bought", pc.if_else(gone, None, holed["bought"]))
    prevalence = []
    for name, table in (("full", full), ("holed", holed)):
        root = tmp_path / name
        root.mkdir()
        stages.encode(root, lay(root, declared(["click", "buy"]), table))
        prevalence.append(Encoded(root / "data" / "encoded", ["click", "buy"]).states["buy"]["prevalence"])
    assert prevalence[1] == pytest.approx(prevalence[0], rel=0.1)  # 0.6 of it, were no row without a click left out


def test_a_child_without_its_parent_in_the_model_is_learned_as_it_is_judged(tmp_path: Path) -> None:
    stages.encode(tmp_path, lay(tmp_path, declared(), rows()))
    folder = tmp_path / "data" / "encoded"
    assert "given" not in Encoded(folder, ["buy", "returned"]).heads["buy"]
    assert "given" not in Encoded(folder, ["buy", "returned"]).heads["returned"]
    assert Encoded(folder, ["returned", "click", "buy"]).heads["returned"]["given"]["place"] == 2


def test_labels_where_the_parent_lacks_the_value_teach_the_head_nothing() -> None:
    heads: dict[str, Any] = {
        "a": {"kind": "binary"},
        "b": {"kind": "binary", "given": {"parent": "a", "class": 0}},
        "c": {"kind": "binary", "given": {"parent": "b", "class": 1}},
    }
    nan = np.float32(np.nan)
    labels = {
        "a": np.array([0, 0, 0, 1, nan], dtype=np.float32),
        "b": np.array([0, 1, 1, 0, 1], dtype=np.float32),
        "c": np.array([0, 1, 0, 0, 1], dtype=np.float32),
    }
    found = head_labels(heads, labels)
    assert np.array_equal(found["b"], np.array([0, 1, 1, nan, nan]), equal_nan=True)
    assert np.array_equal(found["c"], np.array([nan, 1, 0, nan, nan]), equal_nan=True)


LOGITS = st.floats(-120, 120, width=32)


def chain(conditional: str = "masked") -> list[Any]:
    """Return a yes-or-no task, one of three classes, and three children of them and of a child."""

    def child(place: int, chosen: int) -> Any:
        held = {"parent": "", "place": place, "class": chosen, "conditional": conditional}
        return {"kind": "binary", "outputs": 1, "bias": [0.0], "constant_loss": 1.0, "given": held}

    root = {"kind": "binary", "outputs": 1, "bias": [0.0], "constant_loss": 1.0}
    classes = {"kind": "multiclass", "outputs": 3, "bias": [0.0] * 3, "constant_loss": 1.0}
    return [root, classes, child(0, 1), child(2, 0), child(1, 2)]


@settings(max_examples=60)
@given(st.lists(st.lists(LOGITS, min_size=7, max_size=7), min_size=1, max_size=20), st.floats(0.25, 4.0))
def test_a_product_is_never_above_its_factors_whatever_the_logits(logits: list[list[float]], slope: float) -> None:
    states = chain()
    predict = Predict(states, [Correction(slope, 0.3)] * 5)
    outputs = torch.tensor(logits, dtype=torch.float32)
    root, classes, child, grandchild, of_class = predict(outputs)
    own = predict.of_heads(outputs)
    assert (child <= root).all()
    assert (grandchild <= root * (1 - own[2])).all()
    assert (grandchild <= root).all()
    assert (of_class <= classes[:, 2:]).all()
    assert all(((part >= 0) & (part <= 1)).all() for part in (child, grandchild, of_class))


@settings(max_examples=60)
@given(LOGITS, LOGITS)
def test_the_logit_of_a_product_is_exact(first: float, second: float) -> None:
    exact = both(torch.tensor([first]).double(), torch.tensor([second]).double())
    found = both(torch.tensor([first]), torch.tensor([second]))
    assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-5)
    if max(abs(first), abs(second)) < 15:
        product = torch.sigmoid(torch.tensor(first).double()) * torch.sigmoid(torch.tensor(second).double())
        assert torch.allclose(torch.sigmoid(exact), product, rtol=1e-9)


@pytest.mark.parametrize("members", [(), (3,)])
def test_entire_space_is_the_cross_entropy_of_the_product(members: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    states = chain("entire_space")
    outputs = torch.randn(*members, 50, 7, requires_grad=True)
    targets = torch.full((*members, 50, 5), torch.nan)
    targets[..., 2:] = torch.randint(0, 2, (*members, 50, 3)).float()
    p = torch.sigmoid(outputs)
    shares = torch.softmax(outputs[..., 1:4], dim=-1)
    joint = [p[..., 0] * p[..., 4], p[..., 0] * (1 - p[..., 4]) * p[..., 5], shares[..., 2] * p[..., 6]]
    found = Losses(states, "constant")(outputs, targets)[..., 2:]
    for place, probability in enumerate(joint):
        truth = targets[..., 2 + place]
        wanted = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).mean(dim=-1)
        assert torch.allclose(found[..., place], wanted, atol=1e-6)
    slope = torch.autograd.grad(found[..., 0].sum(), outputs)[0]
    assert slope[..., 0].abs().sum() > 0  # through the parent's head too
    assert torch.equal(JointLogits(chain())(outputs), outputs)  # masked: as they are


def test_entire_space_stays_finite_at_the_ends() -> None:
    outputs = torch.tensor([[200.0, 0, 0, 0, 200.0, -200.0, 200.0]], requires_grad=True)
    targets = torch.tensor([[torch.nan, torch.nan, 0.0, 1.0, 1.0]])
    losses = Losses(chain("entire_space"), "constant")(outputs, targets)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert outputs.grad is not None and torch.isfinite(outputs.grad).all()


def test_parents_come_first_whatever_the_order_of_declaration() -> None:
    order = parents_first(parse_project(declared()).tasks)
    assert order.index("click") < order.index("buy") < order.index("returned")
    assert order.index("page") < order.index("search")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"click": {"given": {"returned": True}}}, "goes round in a circle"),
        ({"click": {"given": {"click": True}}}, "goes round in a circle (click -> click)"),
        ({"buy": {"given": {"clck": True}}}, "tasks.buy.given: 'clck' is no task; did you mean 'click'?"),
        ({"buy": {"given": {"paid": True}}, "paid": {"given": None}}, "'paid' is of kind regression"),
        ({"buy": {"given": {"click": "yes"}}}, "'yes' as the value of the binary task 'click'; write true or false"),
        ({"search": {"given": {"page": True}}}, "write one of its classes"),
        (
            {"search": {"given": {"page": "hom"}}, "page": {"classes": ["home", "list", "item"]}},
            "'hom' is no class of 'page'; did you mean 'home'?",
        ),
        ({"paid": {"conditional": "entire_space"}}, "tasks.paid.conditional: entire_space takes kind: binary"),
        ({"click": {"conditional": "entire_space"}}, "tasks.click.conditional: entire_space takes given"),
    ],
)
def test_what_cannot_be_given_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_project(declared(**changes))
    assert words in str(caught.value)


def test_a_value_that_no_training_label_has_is_refused(tmp_path: Path) -> None:
    content = declared(["page", "search"], search={"given": {"page": "shop"}})
    with pytest.raises(DataError, match="no training label of 'page' is that; found home, item, list"):
        stages.encode(tmp_path, lay(tmp_path, content, rows()))


def test_a_child_that_is_there_without_its_parent_is_found_with_column_row_and_count(tmp_path: Path) -> None:
    table = rows(lost=0.0)
    clicked = table["clicked"].to_pylist()
    spoilt = [place for place in range(ROWS) if not clicked[place]][:7]
    bought = table["bought"].to_pylist()
    for place in spoilt:
        bought[place] = True
    table = table.set_column(table.column_names.index("bought"), "bought", pa.array(bought))
    project = write_params(tmp_path, declared(["click", "buy"]))
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    table = table.append_column("drop", pa.array(["drop.parquet"] * ROWS))
    pq.write_table(table, folder / "rows.parquet")
    seal(folder, ["rows.parquet"], drops=[{"name": "drop.parquet", "rows": ROWS, "missing": [], "extra": []}])
    with pytest.raises(DataError) as caught:
        stages.validate(tmp_path, project)
    said = str(caught.value)
    assert "'bought' false or empty wherever 'clicked' is not true" in said
    assert f"in 7 of {ROWS:,} rows" in said
    assert "[tasks.buy.given]" in said
    assert f"row-{spoilt[0]}" in said


def test_a_task_that_is_given_another_is_followed_behind_the_training_as_it_is_judged(
    finished: Path, tmp_path: Path
) -> None:
    """Jointly where it is a yes or no, else where it exists; the labels of new rows mean what those of training do."""
    assert that_are_counted_alike(finished) == set(TASKS)
    new = rows(zeros=("leave", "search"), seed=5)
    pq.write_table(new, tmp_path / "new.parquet")
    kept, out = tmp_path / "kept", tmp_path / "out.parquet"
    predict_file(finished / "models/export/model.onnx", tmp_path / "new.parquet", out, keep=kept)
    project = parse_project(declared())
    found = outcomes(find_kept(kept), new, ["id"], project, 1, "new.parquet")["drops"][0]["tasks"]
    assert set(found) == set(TASKS)
    table, given_ = pq.read_table(out), new.to_pandas()
    bought = given_["bought"].eq(True) & given_["clicked"].eq(True)
    paid = bought & given_["paid"].notna()
    said = table["paid.value"].to_numpy()
    assert found["paid"]["score"]["rows"] == paid.sum()
    assert found["paid"]["score"]["value"] == pytest.approx(
        metrics.r2_score(given_["paid"][paid], said[paid]), abs=1e-5
    )
    page = given_["page"].eq("home")
    share = given_["searched"][page].notna().mean()
    assert found["search"]["labels"]["labelled"] == pytest.approx(len(page) * share, rel=0.02)
    assert found["search"]["labels"]["level"] == pytest.approx(given_["searched"][page].mean() * page.mean(), abs=0.01)
    assert found["search"]["predicted"] == pytest.approx(found["search"]["labels"]["level"], abs=0.05)
    without = outcomes(find_kept(kept), new.drop_columns(["clicked"]), ["id"], project, 1, "")["drops"][0]["tasks"]
    assert set(without) == {"page", "search"}  # what the others are given is not known
