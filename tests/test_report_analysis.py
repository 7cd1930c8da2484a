"""The analysis of every task by itself, and the second half of the report that shows it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from test_report import Page, evaluation, histories, judged

from trunkline.evaluation.analysis import analyse, label_counts
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.fairness import judge_fairness
from trunkline.evaluation.prediction_charts import calibration_chart, histogram_chart, time_chart
from trunkline.evaluation.regret import checkpoint_regret
from trunkline.evaluation.report import render_report
from trunkline.evaluation.slices import MOST_VALUES, groups, slice_scores
from trunkline.files import to_json
from trunkline.tasks import KINDS

ROWS = 3000
EVIL = "<script>alert(1)</script>"
KIND_OF = {"late": "binary", "delay": "regression", "route": "multiclass"}


def evidence(kind: str = "regression", seeds: int = 3, gain: float = 0.0, rows: int = ROWS) -> Evidence:
    """Return a task whose shared model errs by `gain` less than alone; a share of the rows has no label."""
    chance = np.random.default_rng(5)
    latent = chance.normal(size=rows)

    def learned(error: float) -> np.ndarray[Any, Any]:
        return latent + error * chance.normal(size=(seeds, rows))

    arms = learned(0.6 - gain), learned(0.6)
    task = KINDS[kind].model_validate({"kind": kind, "target": "y"})
    if kind == "regression":
        labels = latent * 10
        predictions = [10 * arm[..., None] for arm in arms]
        state = task.fit("t", labels)
    elif kind == "binary":
        labels = (chance.random(rows) < 1 / (1 + np.exp(-latent))).astype(float)
        predictions = [1 / (1 + np.exp(-arm[..., None])) for arm in arms]
        state = task.fit("t", labels)
    else:
        labels = np.digitize(latent, [-0.5, 0.5]).astype(float)
        words = np.array([EVIL, "mid", "fast"], dtype=object)
        state = task.fit("t", words[labels.astype(int)]) | {"classes": words.tolist()}
        scores = [np.stack([-arm, 0.3 + 0 * arm, arm], axis=-1) for arm in arms]
        predictions = [np.exp(score) / np.exp(score).sum(axis=-1, keepdims=True) for score in scores]
    labels[chance.random(rows) < 0.05] = np.nan
    return Evidence("t", task, state, labels, *(each.astype(np.float32) for each in predictions), exported=1)


# --- slices -----------------------------------------------------------------------------------------------


def test_a_slice_has_the_score_of_its_own_labelled_rows() -> None:
    held = evidence("binary")
    column = np.array(["a", "b"], dtype=object)[np.arange(ROWS) % 2]
    found = {row["value"]: row for row in slice_scores(held, column, np.arange(ROWS), seed=1)}
    rows = (column == "a") & held.known
    scores = [held.task.scores(held.labels[rows], of_seed[rows], held.state)["roc_auc"] for of_seed in held.shared]
    assert found["a"]["rows"] == rows.sum()
    assert found["a"]["shared"] == pytest.approx(np.mean(scores), rel=1e-9)
    assert found["a"]["gain"] == pytest.approx(found["a"]["shared"] - found["a"]["alone"], rel=1e-9)


def test_a_slice_that_sharing_hurts_is_found_between_those_that_it_helps() -> None:
    held = evidence(gain=0.2)
    hurt = np.arange(ROWS) % 3 == 0
    swapped = held.shared.copy(), held.alone.copy()
    for mine, theirs in zip(swapped, (held.alone, held.shared), strict=True):
        mine[:, hurt] = theirs[:, hurt]
    worse = Evidence("t", held.task, held.state, held.labels, *swapped, exported=0)
    column = np.where(hurt, "bad", "good").astype(object)
    found = {row["value"]: row["interval"] for row in slice_scores(worse, column, np.arange(ROWS), seed=1)}
    assert found["bad"][1] < 0 < found["good"][0]


@pytest.mark.parametrize(("higher", "primary"), [(True, "r2"), (False, "mae")])
def test_a_gain_is_above_zero_where_shared_is_better_whichever_way_the_metric_counts(
    higher: bool, primary: str
) -> None:
    held = evidence(gain=0.2)
    task = held.task.model_copy(update={"primary": primary})
    other = Evidence("t", task, held.state, held.labels, held.shared, held.alone, exported=0)
    (row,) = slice_scores(other, np.full(ROWS, 1.0), np.arange(ROWS), seed=1)
    assert row["gain"] > 0
    assert (row["shared"] > row["alone"]) == higher


def test_the_interval_of_a_slice_without_a_difference_holds_zero_and_one_training_has_none() -> None:
    column = np.array(["a"] * ROWS, dtype=object)
    low, high = slice_scores(evidence(), column, np.arange(ROWS), seed=1)[0]["interval"]
    assert low < 0 < high
    assert slice_scores(evidence(seeds=1), column, np.arange(ROWS), seed=1)[0]["interval"] is None


def test_rows_of_one_unit_make_a_wider_interval_than_rows_by_themselves() -> None:
    held = evidence(seeds=5)
    # Ten rows that are the same ten times over say no more than one.
    place = np.arange(ROWS) // 10
    same = Evidence("t", held.task, held.state, held.labels[place], held.shared[:, place], held.alone[:, place], 0)
    column = np.zeros(ROWS)
    reach = []
    for units in (np.arange(ROWS), place):
        low, high = slice_scores(same, column, units, seed=1)[0]["interval"]
        reach.append(high - low)
    assert reach[1] > 2 * reach[0]


def test_a_value_of_few_labelled_rows_has_no_score() -> None:
    column = np.array(["often"] * (ROWS - 40) + ["rare"] * 40, dtype=object)
    found = slice_scores(evidence(), column, np.arange(ROWS), seed=1)
    assert [(row["value"], row["small"]) for row in found] == [("often", False), ("rare", True)]
    assert found[1]["shared"] is None


def test_many_words_are_pooled_many_numbers_become_ranges_and_missing_values_are_a_group() -> None:
    words = np.array([f"w{place % 40:02d}" for place in range(400)] + [None] * 7, dtype=object)
    found = groups(words)
    assert len(found) == MOST_VALUES + 2
    assert [(group.value, int(group.rows.sum())) for group in found[-2:]] == [("10 other values", 100), ("missing", 7)]
    numbers = np.concatenate([np.arange(1000.0), [np.nan]])
    ranges = groups(numbers)
    assert [group.value for group in ranges][:2] == ["0 to 199.8", "199.8 to 399.6"]
    assert [int(group.rows.sum()) for group in ranges] == [200] * 5 + [1]
    for held, column in ((found, words), (ranges, numbers)):
        assert (np.sum([group.rows for group in held], axis=0) == 1).all(), column[:3]  # every row once


# --- regret and labels ------------------------------------------------------------------------------------


def test_regret_is_the_loss_kept_above_the_lowest_in_the_mean_of_the_seeds() -> None:
    history = "seed\tepoch\tvalidation.a\n0\t1\t0.9\n0\t2\t0.6\n0\t3\t0.7\n1\t1\t0.8\n1\t2\t0.7\n1\t3\t0.65\n"
    found = checkpoint_regret(history, "a", [3, 3])
    assert found is not None
    assert found["of_seeds"] == [pytest.approx(0.1), 0.0]
    assert (found["skill"], found["best_epochs"]) == (pytest.approx(0.05), [2, 3])
    assert checkpoint_regret(history, "a", [3, 4]) is None
    assert checkpoint_regret(history, "b", [3, 3]) is None


def test_labels_are_counted_by_class_and_numbers_by_their_quantiles() -> None:
    counts = label_counts(evidence("multiclass"))["counts"]
    assert list(counts) == [EVIL, "mid", "fast"]
    assert sum(counts.values()) == evidence("multiclass").known.sum()
    quantiles = label_counts(evidence())["quantiles"]
    assert list(quantiles.values()) == sorted(quantiles.values())


def test_a_task_without_a_labelled_test_row_has_no_analysis_of_its_predictions() -> None:
    held = evidence(seeds=1)
    empty = Evidence("t", held.task, held.state, np.full(ROWS, np.nan), held.shared, held.alone, exported=0)
    rows = TestRows(np.arange(ROWS), columns={"place": np.zeros(ROWS)})
    found = analyse([empty], rows, ["place"], histories("t")["shared"], [3], {}, 1)["t"]
    assert "calibration" not in found
    assert found["slices"]["place"][0]["small"]


# --- the page ---------------------------------------------------------------------------------------------


def analysed() -> dict[str, Any]:
    tasks = [
        Evidence(name, held.task, held.state, held.labels, held.shared, held.alone, exported=0)
        for name, kind in KIND_OF.items()
        for held in [evidence(kind, gain=0.1)]
    ]
    time = np.datetime64("2013-11-01", "s") + np.arange(ROWS).astype("timedelta64[m]") * 25
    place = np.array([EVIL, "JFK", None], dtype=object)[np.random.default_rng(2).choice(3, ROWS, p=[0.7, 0.29, 0.01])]
    rows = TestRows(np.arange(ROWS), time, {"place": place})
    classes = {"false": {"rows": 90, "coverage": 0.9, "interval": [0.8, 0.95]}}
    size = {"mean_size": 1.2, "empty": 0.01, "classes": classes}
    coverage = {"late": {"asked": 0.9, "rows": 100, "coverage": 0.91, "interval": [0.85, 0.95], **size}}
    done = {"rule": {"kind": "focal", "gamma": 2.0, "alpha": None}}
    by_class = {"class_weights": {"false": 1.0, "true": 1.0}, "prior_shift": {"false": 0.1, "true": -0.9}}
    rebalanced = {"late": done | by_class, "delay": {"rule": {"kind": "density", "power": 0.5}, "class_weights": {}}}
    of_tasks = analyse(tasks, rows, ["place"], histories(KIND_OF)["shared"], [3], coverage, 1, rebalanced)
    fairness = judge_fairness(tasks, rows, ["place"], draws=200, seed=1)
    cosine = [[1.0, 0.4, None], [0.4, 1.0, -0.2], [None, -0.2, 1.0]]
    affinity = {
        **{"tasks": list(KIND_OF), "seeds": 1, "measurements": 120, "every": 20, "cosine": cosine, "t": cosine},
        **{"affinity": cosine, "conflict_rate": cosine, "lookahead": None, "ceiling": [0.3, 0.2, None]},
        **{"norm": [1.0, 2.0, 3.0], "conflicts": [], "says": ["Affinity suggests, it does not decide."]},
        "groupings": [{"groups": [["late", "delay"], ["route"]], "score": 0.2}],
    }
    content = {"version": 1, "tasks": of_tasks, "affinity": affinity, "fairness": fairness}
    return json.loads(to_json(content))


@pytest.fixture(scope="module")
def analysis() -> dict[str, Any]:
    return analysed()


def render(analysis: dict[str, Any]) -> str:
    tasks = {name: judged(kind) for name, kind in KIND_OF.items()}
    return render_report(evaluation(tasks), analysis, histories(KIND_OF), {}, {})


@pytest.fixture(scope="module")
def page(analysis: dict[str, Any]) -> str:
    return render(analysis)


SECTIONS = ("How the tasks agree", "Predictions of the exported model", "Intervals and sets", "Slices", "Fairness")


def test_every_part_of_the_analysis_has_its_section(page: str) -> None:
    said = Page(page).text
    for shown in (*SECTIONS, "Groupings to try", "late + delay | route", "Calibration over time", "Histogram"):
        assert shown in said
    for shown in ("By place", "selection rate gap", "too few rows", "1.2 classes, 1.0 % empty", "the epoch kept is"):
        assert shown in said
    assert "Rebalanced by focal (gamma 2). That moved the logit of true by −1.0, which was taken off again" in said
    assert "Rebalanced by density (power 0.5)" in said and said.count("Rebalanced by") == 2
    assert "median" in said
    assert page.count('role="img" aria-label="late: ') == 4  # curve, calibration, over time, histogram


def test_a_part_that_is_not_there_is_not_shown_and_nothing_points_to_it(analysis: dict[str, Any]) -> None:
    bare = Page(render({}))
    assert not [section for section in SECTIONS if section in bare.text]
    assert {target[1:] for target in bare.values("href") if target.startswith("#")} <= set(bare.values("id"))
    # Each task lacks other parts than the others.
    thinned = {
        name: {part: held[part] for at, part in enumerate(held) if at % len(KIND_OF) != place}
        for place, (name, held) in enumerate(analysis["tasks"].items())
    }
    assert "Slices" in Page(render({"tasks": thinned})).text


def test_the_second_half_is_whole_and_harmless(page: str) -> None:
    whole = Page(page)
    ids = whole.values("id")
    assert len(ids) == len(set(ids))
    assert "<script" not in page
    assert "url(" not in page
    assert EVIL in whole.text
    assert {target[1:] for target in whole.values("href") if target.startswith("#")} <= set(ids)
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in whole.elements if tag == "th")
    assert all(attributes.get("aria-label") for _, attributes in whole.elements if attributes.get("role") == "img")


def test_the_same_analysis_gives_the_same_bytes(page: str) -> None:
    assert render(analysed()) == page


# --- charts -----------------------------------------------------------------------------------------------


def point(predicted: float, observed: float, rows: int = 100) -> dict[str, Any]:
    where = {
        "start": "2013-11-01T00:00:00",
        "end": "2013-11-02T00:00:00",
        "interval": [observed - 0.01, observed + 0.01],
    }
    return {"rows": rows, "predicted": predicted, "observed": observed, **where}


def test_a_point_of_few_rows_does_not_stretch_the_calibration_chart() -> None:
    few = point(0.4, 1.0, rows=2)
    assert calibration_chart([point(0.02, 0.03), few]) == calibration_chart([point(0.02, 0.03)])
    assert calibration_chart([few])


def test_charts_of_one_point_or_of_empty_bins_are_drawn() -> None:
    assert "var(--shared)" in time_chart([point(0.1, 0.1) | {"interval": None}])
    assert histogram_chart([0, 0.5, 1], [0, 0], [0, 0])
