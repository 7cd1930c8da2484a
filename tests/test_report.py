"""The report: what it says of an evaluation, and what a page may never do."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import pytest

from trunkline.evaluation.bars import gain_bars
from trunkline.evaluation.charts import line_chart
from trunkline.evaluation.curves import Point, mean_curve, read_curve
from trunkline.evaluation.report import render_report
from trunkline.evaluation.wording import METRICS, broken_gate, score
from trunkline.files import to_json
from trunkline.tasks import KINDS

SHARED = {  # in the order of the kind's metrics
    "binary": [0.8361, 0.1383, 0.0913, 0.0216, 0.007],
    "multiclass": [0.71, 0.502, 0.911, 0.031],
    "regression": [0.0948, 23.54, 38.16],
}
ALONE = {
    "binary": [0.8317, 0.1316, 0.0942, 0.0219, 0.0079],
    "multiclass": [0.74, 0.511, 0.902, 0.029],
    "regression": [0.0828, 23.84, 38.42],
}
PREVALENCE: dict[str, Any] = {"binary": 0.028055, "multiclass": [0.2, 0.5, 0.3], "regression": None}
FLIGHTS = {"cancelled": "binary", "route": "multiclass", "arr_delay": "regression"}
VALIDATION: dict[str, Any] = {
    "version": 1,
    "passed": True,
    "rows": {"read": 336776, "passed": 336744, "set_aside": 32},
    "drops": [{"name": "2013-01"}, {"name": "2013-02"}],
    "rules": [
        {"column": "hour", "expected": "0 to 23", "seen": "1 to 23", "rows": 0, "status": "passed"},
        {"column": "wind_speed", "expected": "0 to 150", "seen": "0 to 1048", "rows": 32, "status": "set aside"},
    ],
    "quarantine": [{"drop": "2013-02", "key": "flight 1895", "reason": "wind_speed 1048.36 is above 150"}],
    "warnings": ["input 'tail' has 4,000 different words"],
}


def transfer(task: Any, shared: dict[str, float], alone: dict[str, float]) -> dict[str, Any]:
    metric = task.primary_metric
    gain = (shared[metric] - alone[metric]) * (1 if task.metrics[metric].higher_is_better else -1)
    return {
        "gain": gain,
        "interval": None,
        "gain_percent": 100 * gain / abs(alone[metric]),
        "p_adjusted": None,
        "verdict": "inconclusive",
        "seeds": 1,
        "margin": None,
        "needs": "seeds",
        "seeds_needed": 3,
    }


def compose(tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    transfers = {name: task["transfer"] for name, task in tasks.items()}
    worst = min(transfers, key=lambda name: transfers[name]["gain_percent"] or 0.0)
    verdicts = [transfer["verdict"] for transfer in transfers.values()]
    return {
        "delta_m_percent": sum(transfer["gain_percent"] or 0.0 for transfer in transfers.values()) / len(tasks),
        "interval": None,
        "worst_task": worst,
        "worst_gain": transfers[worst]["gain"],
        **{verdict: verdicts.count(verdict) for verdict in ("helped", "hurt", "equivalent", "inconclusive")},
    }


def judged(kind: str, primary: str | None = None, **changes: Any) -> dict[str, Any]:
    task = KINDS[kind].model_validate({"kind": kind, "target": "y", "primary": primary})
    shared, alone = (dict(zip(task.metrics, side[kind], strict=True)) for side in (SHARED, ALONE))
    return {
        "kind": kind,
        "labelled": {"train": 224878, "validation": 56463, "test": 55403},
        **({"prevalence": PREVALENCE[kind]} if PREVALENCE[kind] is not None else {}),
        "primary": task.primary_metric,
        "higher_is_better": task.metrics[task.primary_metric].higher_is_better,
        "shared": shared,
        "alone": alone,
        "exported": shared,
        "transfer": transfer(task, shared, alone) | changes,
    }


def evaluation(tasks: dict[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Content of evaluation.json, as it reads once it went through the file."""
    content = {"version": 1, "tasks": tasks, "composite": compose(tasks), "gates": [], "deployable": True} | changes
    return json.loads(to_json(content))


def history(names: Iterable[str], seeds: int = 1, epochs: int = 3) -> str:
    names = list(names)
    of_tasks = [f"{part}.{name}" for name in names for part in ("train", "validation")]
    lines = ["\t".join(["seed", "epoch", "composite", *of_tasks])]
    for seed in range(seeds):
        for epoch in range(1, epochs + 1):
            loss = 0.5 + 0.1 * seed + 0.3 / epoch
            lines.append("\t".join(f"{value:.8g}" for value in [seed, epoch, 1 - loss, *[loss] * 2 * len(names)]))
    return "\n".join(lines) + "\n"


def histories(names: Iterable[str], seeds: int = 1) -> dict[str, str]:
    names = list(names)
    return {"shared": history(names, seeds)} | {name: history([name], seeds) for name in names}


def report(tasks: dict[str, dict[str, Any]], validation: dict[str, Any] | None = None, **changes: Any) -> str:
    return render_report(evaluation(tasks, **changes), {}, histories(tasks), validation or {}, {})


class Page(HTMLParser):
    """A page as a reader meets it: its text, its elements, and whether every element was closed."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def flights() -> str:
    return report({name: judged(kind) for name, kind in FLIGHTS.items()}, VALIDATION)


# --- what it says -----------------------------------------------------------------------------------------


def test_one_training_per_side_says_that_nothing_is_certain(flights: str) -> None:
    said = Page(flights).text
    assert "One shared model for 3 tasks. With one training per side nothing can be said for certain:" in said
    assert "scores better on 2 (cancelled, arr_delay) and worse on 1 (route)." in said


def test_the_numbers_of_evaluation_json_stand_in_the_page(flights: str) -> None:
    said = Page(flights).text
    for number in ("0.8361", "0.8317", "+0.0044", "55,403", "224,878", "56,463", "2.8 %", "commonest of 3", "23.54"):
        assert number in said
    assert "▲ better" in said
    assert "▼ worse" in said
    assert said.count("? inconclusive 1 training per side") == 3


def test_the_average_names_the_task_that_makes_it(flights: str) -> None:
    said = Page(flights).text
    assert "changes the score by +3.66 % of the score alone. Most of that comes from arr_delay (+14.49 %" in said
    assert "The lowest gain is that of route: −0.030 accuracy." in said


def test_a_lower_loss_is_a_gain() -> None:
    said = Page(report({"a": judged("regression", "mae"), "b": judged("binary", "log_loss")})).text
    assert "mae lower is better 23.84 23.54 +0.30 ▲ better" in said
    assert "the shared model scores better on 2 (a, b)." in said
    assert "brier lower is better 0.0219 0.0216 ▲ better by 0.00030 0.0216" in said


def test_verdicts_and_intervals_are_said_and_drawn() -> None:
    tasks = {
        "up": judged("binary", interval=[0.001, 0.008], verdict="helped"),
        "down": judged("multiclass", interval=[-0.05, -0.01], verdict="hurt"),
        "even": judged("binary", interval=[-0.0001, 0.0002], verdict="equivalent"),
        "open": judged("regression", interval=[-0.01, 0.03], verdict="inconclusive"),
    }
    composite = compose(tasks) | {"interval": [0.3, 5.2]}
    html = report(tasks, composite=composite)
    said = Page(html).text
    assert "Sharing helped 1 (up), hurt 1 (down) and made no difference to 1 (even); for 1 (open) nothing" in said
    for shown in ("▲ helped", "▼ hurt", "= equivalent", "? inconclusive", "+0.0010 to +0.0080"):
        assert shown in said
    assert "(interval +0.30 % to +5.20 %)" in said
    assert html.count('stroke-width="1.5"') == len(tasks)  # one drawn interval per bar


def test_intervals_without_one_certain_verdict_claim_nothing() -> None:
    tasks = {name: judged("binary", interval=[-0.01, 0.02], seeds=5) for name in ("a", "b")}
    assert "Nothing can be said for certain about any of them: the shared model scores better on 2 (a, b)." in (
        Page(report(tasks)).text
    )


def test_one_task_has_nothing_to_share() -> None:
    said = Page(report({"only": judged("binary")})).text
    assert "One model for 1 task. With a single task there is nothing to share" in said
    assert "On average over tasks" not in said


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_metric_that_does_not_exist_is_said_to_be_missing(nothing: float | None) -> None:
    task = judged("binary", gain=nothing, gain_percent=nothing)
    task |= {side: {**task[side], "roc_auc": nothing} for side in ("shared", "alone", "exported")}
    tasks = {"lost": task, "found": judged("regression")}
    composite = {"delta_m_percent": nothing, "interval": None, "worst_task": "found", "worst_gain": 0.012}
    content = evaluation({"found": judged("regression")}) | {"tasks": tasks, "composite": composite}
    said = Page(render_report(content, {}, histories(tasks), {}, {})).text
    assert "The average over tasks cannot be computed" in said
    assert "n/a n/a n/a not comparable" in said
    assert "nan" not in said.lower().split()


def test_gates_say_what_failed_and_that_nothing_is_deployed() -> None:
    rule = {"task": "a", "rule": "max_calibration_error", "limit": 0.005, "value": 0.0046, "bound": 0.0096}
    gates = [rule | {"passed": True, "rule": "max_regret"}, rule | {"passed": False}]
    said = Page(report({"a": judged("binary")}, gates=gates, deployable=False)).text
    assert "Deployable: ✗ no , 1 of 2 gates passed; failed: a max_calibration_error 0.0096 > 0.005." in said
    table = said[said.index("What the model must fulfil") :]
    assert table.index("max_calibration_error 0.0050 0.0046 0.0096 ✗ failed") < table.index("✓ passed")


def test_a_gate_without_an_interval_says_so_and_one_just_missed_shows_the_difference() -> None:
    gate = {"task": "a", "rule": "max_regret", "limit": 0.01, "value": 0.0, "bound": None, "passed": False}
    assert broken_gate(gate) == "a max_regret: no interval to hold against 0.01"
    assert broken_gate(gate | {"bound": 0.0100004}) == "a max_regret 0.0100004 > 0.01"
    assert broken_gate(gate | {"rule": "min_value", "bound": 0.79, "limit": 0.8}) == "a min_value 0.79 < 0.8"
    assert broken_gate(gate | {"bound": 0.2, "column": "sex"}) == "a max_regret by sex 0.2 > 0.01"


def test_the_margin_is_drawn_where_every_task_has_one() -> None:
    tasks = {"a": judged("binary", interval=[0.001, 0.008], margin=0.0025), "b": judged("regression", margin=0.005)}
    html = report(tasks)
    assert "Bars show the gain in margins" in Page(html).text
    assert html.count('fill-opacity=".13"') == len(tasks)
    tasks["b"]["transfer"]["margin"] = None
    assert "of the score alone, right of the line" in Page(report(tasks)).text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"needs": "seeds", "seeds_needed": 8}, "about 8 trainings per side would decide"),
        ({"needs": "seeds", "seeds_needed": None}, "more than 100 trainings per side would be needed"),
        ({"needs": "rows", "seeds_needed": None}, "needs more labelled test rows"),
    ],
)
def test_an_inconclusive_verdict_says_what_would_decide_it(changes: dict[str, Any], said: str) -> None:
    assert said in Page(report({"a": judged("binary", **changes), "b": judged("binary")})).text


def test_advice_stands_with_its_figures_and_its_settings_as_code() -> None:
    held = {
        "task": "a",
        "verdict": "hurt",
        "says": "First set `training.normalize: constant`.",
        "because": {"gain": -0.0213, "interval": [-0.03, None], "normalize": "off", "seeds": 5},
    }
    html = report({"a": judged("binary"), "b": judged("binary")}, advice=[held])
    assert "▼ a First set training.normalize: constant ." in Page(html).text
    assert "<code>training.normalize: constant</code>" in html
    assert "Because: gain −0.0213; interval −0.0300, n/a; normalize off; seeds 5" in Page(html).text


def test_metrics_and_composite_have_their_intervals() -> None:
    task = judged("binary") | {
        "intervals": {"shared": {"roc_auc": [0.81, 0.86]}, "exported": {"calibration_error": [0.005, 0.012]}},
        "skill": {"shared": 0.2, "alone": 0.15, "exported": 0.21, "gain": 0.05, "interval": [0.01, 0.09]},
    }
    tasks = {"a": task, "b": judged("regression")}
    composite = compose(tasks) | {"worst_interval": [-0.02, 0.01], "utility": 0.123}
    said = Page(report(tasks, composite=composite)).text
    for shown in ("0.8100 to 0.8600", "0.0050 to 0.0120", "+0.010 to +0.090", "(interval −0.020 to +0.010)", "0.1230"):
        assert shown in said


def test_where_the_sides_begin_is_told_where_the_newest_row_decides_it() -> None:
    content, windows = (
        evaluation({"a": judged("binary")}),
        {"train": None, "validation": "2013-10-01", "test": "2013-12-01"},
    )
    said = Page(render_report(content, {}, histories("a"), {}, {}, windows=windows)).text
    assert "training rows from the oldest, validation rows from 2013-10-01, test rows from 2013-12-01" in said
    assert "Counted back" not in Page(render_report(content, {}, histories("a"), {}, {})).text


def test_what_the_page_was_made_from_is_named() -> None:
    content = evaluation({"a": judged("binary")}, test_reads={"selection": 0, "evaluate": 1})
    said = Page(render_report(content, {}, histories("a"), {}, {"data/split": "9f2c" * 16})).text
    assert "data/split " + "9f2c" * 16 in said
    assert "selection 0, evaluate 1" in said


def test_a_score_that_rounds_to_nothing_has_no_sign() -> None:
    assert score(-0.00001) == "0.0000"


def test_validation_is_summed_up(flights: str) -> None:
    said = Page(flights).text
    for shown in ("336,744 of 336,776 rows passed", "32 rows set aside", "2 drops", "2 rules"):
        assert shown in said
    assert "wind_speed 0 to 150 0 to 1048 32 set aside" in said
    assert "wind_speed 1048.36 is above 150 (2013-02, flight 1895)" in said
    assert "input 'tail' has 4,000 different words" in said
    assert "0 to 23" not in said  # what held for every row is left to validation.html
    assert "There is no record of a validation" in Page(report({"a": judged("binary")})).text


def test_every_metric_is_explained() -> None:
    assert set(METRICS) == {metric for kind in KINDS.values() for metric in kind.metrics}


# --- what a page may never do -----------------------------------------------------------------------------


def test_the_page_asks_nobody_and_runs_nothing(flights: str) -> None:
    page = Page(flights)
    assert not re.search(r"https?://|url\(|@import|javascript:", flights)
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    attributes = {name for _, held in page.elements for name in held}
    assert not [name for name in attributes if name == "src" or name.startswith("on")]
    assert {target for target in page.values("href") if not target.startswith("#")} == {"validation.html"}


def test_words_of_the_user_are_shown_and_never_obeyed() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
    tasks = {evil: judged("binary"), "b": judged("multiclass")}
    rule = VALIDATION["rules"][1] | {"column": evil, "expected": evil, "seen": evil}
    row = {"drop": evil, "key": evil, "reason": evil}
    gate = {"task": evil, "rule": evil, "limit": 1.0, "value": 0.5, "bound": 0.6, "passed": False, "column": evil}
    advice = [{"task": evil, "verdict": "hurt", "says": evil, "because": {evil: evil}}]
    content = VALIDATION | {"rules": [rule], "quarantine": [row], "warnings": [evil]}
    html = report(tasks, content, gates=[gate], advice=advice)
    page = Page(html)
    assert "<script" not in html
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert page.text.count(evil) >= 10


def test_the_page_is_whole_and_every_id_is_its_own(flights: str) -> None:
    page = Page(flights)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in page.values("href") if target.startswith("#")} <= set(ids)
    assert [tag for tag, _ in page.elements if tag == "h1"] == ["h1"]
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in page.elements if tag == "th")
    assert all(attributes.get("aria-label") for _, attributes in page.elements if attributes.get("role") == "img")


def test_the_same_input_gives_the_same_bytes_in_another_process(flights: str) -> None:
    content = evaluation({name: judged(kind) for name, kind in FLIGHTS.items()})
    given = json.dumps([content, {}, histories(FLIGHTS), VALIDATION, {}])
    code = "import json, sys; from trunkline.evaluation.report import render_report; "
    code += "print(render_report(*json.load(sys.stdin)), end='')"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    again = subprocess.run(
        [sys.executable, "-c", code], input=given, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    assert again.stdout == flights


def test_sixteen_tasks_of_five_trainings_make_a_small_page() -> None:
    tasks = {f"task_{place}": judged(kind, seeds=5) for place, kind in enumerate([*FLIGHTS.values()] * 5 + ["binary"])}
    of_all = {"shared": history(tasks, 5, 20)} | {name: history([name], 5, 20) for name in tasks}
    html = render_report(evaluation(tasks), {}, of_all, {}, {})
    said = Page(html).text
    assert "scores better on 11 (task_0, task_2 and 9 more) and worse on 5" in said
    assert "With 5 trainings per side and no interval nothing can be said for certain" in said
    assert len(html.encode()) < 400_000


# --- curves and bars --------------------------------------------------------------------------------------


def test_a_curve_leaves_out_what_is_no_number_and_the_mean_what_a_seed_did_not_reach() -> None:
    text = "seed\tepoch\tvalidation.a\n0\t1\t0.9\n0\t2\tnan\n0\t3\t0.5\n1\t1\t0.7\n1\t2\t0.6\n"
    points = read_curve(text, "validation.a")
    assert points == [Point(0, 1, 0.9), Point(0, 3, 0.5), Point(1, 1, 0.7), Point(1, 2, 0.6)]
    assert mean_curve(points) == [(1, pytest.approx(0.8))]
    assert read_curve(text, "validation.b") == []


def test_several_trainings_are_thin_lines_about_their_mean() -> None:
    points = [Point(seed, epoch, 1 / epoch + seed) for seed in range(3) for epoch in (1, 2)]
    curves = {"shared": points, "alone": points}
    svg = line_chart(curves)
    assert svg.count('stroke-width="0.8"') == 6
    assert 'stroke-width="0.8"' not in line_chart({"shared": points[:2], "alone": points[:2]})


def test_a_single_epoch_is_still_a_mark_to_see() -> None:
    assert 'fill="var(--shared)"' in line_chart({"shared": [Point(0, 1, 0.5)], "alone": []})


def test_one_gain_far_off_does_not_flatten_the_others() -> None:
    scale, bars = gain_bars({"a": [0.5, 0.2, 0.8], "b": [-0.6], "c": [900.0]})
    assert scale < 5
    assert (bars["c"].gain, bars["c"].beyond) == (1.0, True)
    assert bars["a"].low < bars["a"].gain < bars["a"].high
    assert bars["b"].gain < 0
    assert not bars["a"].beyond
    assert gain_bars({"a": [0.0], "b": [0.0]})[1]["a"].gain == 0
