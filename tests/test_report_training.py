"""What the report and the end of a run say of the shared model's training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_report import Page, evaluation, histories, judged

from trunkline.cli.verdict import COLUMNS, alarm_lines, ending_lines, read_alarms
from trunkline.evaluation.report import render_report
from trunkline.evaluation.report_training import MOST_TASKS, training_view
from trunkline.evaluation.training_charts import MOST_EXPERTS, band_chart, gate_map
from trunkline.evaluation.training_record import analyse_training
from trunkline.files import to_json

EVIL = "<script>alert(1)</script>"
ALARM = {
    "kind": "weight",
    "task": "late",
    "step": 1200,
    "seeds": [0, 2],
    "seen": "balance.kind: mgda leaves it 0.3% of its declared say",
    "do": "set balance.kind: log",
}


def monitor(weights: dict[str, float], seeds: int = 2, looks: int = 4) -> str:
    """Text of monitor.tsv: losses fall, a seed lies 0.1 above the one before it."""
    lines = ["seed\tstep\tepoch\ttask\tloss\tskill\tnorm\tcosine\tweight\tlabelled"]
    for seed in range(seeds):
        for look in range(1, looks + 1):
            for name, weight in weights.items():
                loss = 1 / look + 0.1 * seed
                cells = [seed, 20 * look, look / 2, name, loss, 1 - loss, 0.5, "nan", weight, 100]
                lines.append("\t".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def run_of(names: list[str], gates: list[float] | None = None) -> dict[str, Any]:
    """Content of run.json; of gates the load of the first of two experts, per seed."""
    found = [
        [{"level": 1, "task": name, "entropy": 0.5, "load": {"own 1": load, EVIL: 1 - load}} for name in names]
        for load in gates or []
    ]
    return {"tasks": {name: {} for name in names}, "alarms": [ALARM], **({"gates": found} if gates else {})}


def analysis(names: list[str], gates: list[float] | None = None) -> dict[str, Any]:
    found = analyse_training(run_of(names, gates), monitor(dict.fromkeys(names, 0.2)), 0.9)
    return dict(json.loads(to_json(found)))


def test_how_long_the_data_let_it_train_is_told() -> None:
    lengths = [{"epochs": epochs} for epochs in (8, 16, 32)]
    run = run_of(["late"]) | {"epochs": 16, "batch": 64, "lengths": lengths, "seeds": [{"epochs": 5}, {"epochs": 9}]}
    view = training_view(analyse_training(run, "", 0.9), "seed\tepoch\n")
    assert view is not None
    assert (
        "decided: 16, chosen on validation rows among 8, 16, 32, ended early after 9; rows of a step: 64."
        in view["length"]
    )
    assert "tried" not in to_json(analysis(["late"]))


def test_looks_of_all_seeds_become_curves_and_what_was_late() -> None:
    found = analyse_training(run_of(["late", "delay"]), monitor({"late": -0.3, "delay": 0.1}), 0.9)
    late = found["tasks"]["late"]
    assert late["epochs"] == [0.5, 1.0, 1.5, 2.0]
    assert late["curves"]["loss"][0] == pytest.approx([1.05, 1.0, 1.1])
    assert late["curves"]["cosine"] == [None] * 4
    assert late["late"]["loss"] == pytest.approx((1 / 3 + 1 / 4) / 2 + 0.05)
    assert late["late"]["share"] == pytest.approx(-0.75), "a weight below 0 stays one"
    assert found["tasks"]["delay"]["late"]["share"] == pytest.approx(0.25)
    assert late["late"]["cosine"] is None
    assert analyse_training({"tasks": {"late": {}}}, "", 0.9) == {"alarms": [], "tasks": {}, "gates": {}}


def test_a_gate_counts_the_trainings_in_which_it_collapsed() -> None:
    (gate,) = analyse_training(run_of(["late"], gates=[0.97, 0.02, 0.5]), "", 0.9)["gates"]["late"]
    assert (gate["collapsed"], gate["seeds"], gate["busiest"]) == (2, 3, EVIL)
    assert gate["load"]["own 1"] == pytest.approx((0.97 + 0.02 + 0.5) / 3)


def test_the_page_shows_alarms_and_folded_charts_and_escapes_what_is_the_users() -> None:
    tasks = {"late": judged("binary"), "delay": judged("regression")}
    held = {"tasks": {}, "training": analysis(["late", "delay"], gates=[0.95, 0.96])}
    html = render_report(evaluation(tasks), held, histories(tasks, 2), {}, {})
    page = Page(html)
    assert EVIL not in html
    section = html[html.index('<section aria-labelledby="training">') :]
    section = section[: section.index("</section>")]
    assert "balance.kind: mgda leaves it 0.3% of its declared say" in section
    assert "First after step 1,200, in 2 of the trainings." in section
    assert section.count('<details class="fold">') == 2
    assert section.count("<svg") == 2 * (3 + 1), "loss, weight, length and gates: no cosine was known"
    assert section.count('stroke="var(--bad)"') == 2
    assert ("a", {"href": "#training"}) in page.elements
    assert html == render_report(evaluation(tasks), held, histories(tasks, 2), {}, {})


def test_without_a_record_there_is_no_section_and_without_an_alarm_it_says_so() -> None:
    tasks = {"late": judged("binary")}
    assert 'id="training"' not in render_report(evaluation(tasks), {"tasks": {}}, histories(tasks), {}, {})
    held = {"tasks": {}, "training": analysis(["late"]) | {"alarms": []}}
    html = render_report(evaluation(tasks), held, histories(tasks), {}, {})
    assert "No alarm was raised while the shared model trained." in html


def test_of_many_tasks_those_with_an_alarm_are_drawn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.evaluation.report_training.band_chart", lambda *parts: "")
    names = [f"t{place}" for place in range(MOST_TASKS + 3)]
    found = analysis([*names, "late"])
    view = training_view(found, "seed\tepoch\n")
    assert view is not None
    assert [task["name"] for task in view["tasks"]][:2] == ["late", "t0"]
    assert (len(view["tasks"]), view["more"]) == (MOST_TASKS, 4)


def test_a_chart_draws_the_band_of_the_seeds_and_leaves_gaps_out() -> None:
    svg = band_chart([0.5, 1.0, 1.5], [[0.9, 0.8, 1.0], None, [0.5, 0.5, 0.6]], [(1, 0.7)])
    assert svg.startswith("<svg") and "nan" not in svg.lower()
    assert svg.count("var(--alone)") >= 1
    assert "var(--alone)" not in band_chart([0.5, 1.0], [[0.9, 0.9, 0.9], [0.9, 0.9, 0.9]])


def test_a_map_of_many_experts_shows_as_many_as_are_readable() -> None:
    loads = {f"shared {place}": 1 / 40 for place in range(40)}
    gate = {"level": 1, "load": loads, "busiest": "shared 0", "collapsed": 0, "seeds": 2}
    svg = gate_map([gate, gate], "gates")
    assert svg.count("<rect") == 2 * MOST_EXPERTS
    assert "var(--bad)" not in svg


def test_the_end_of_a_run_names_the_alarms(tmp_path: Path) -> None:
    assert read_alarms(tmp_path) == []
    assert alarm_lines([]) == []
    (tmp_path / "models" / "shared").mkdir(parents=True)
    (tmp_path / "models" / "shared" / "run.json").write_text(json.dumps({"alarms": [ALARM]}))
    lines = ending_lines(tmp_path)
    assert lines[:2] == ["", "1 alarm while the shared model trained:"]
    said = " ".join(" ".join(lines[2:]).split())
    assert said.startswith("- task 'late': balance.kind: mgda leaves it 0.3% of its declared say (step 1200, 2 seeds);")
    many = alarm_lines([ALARM | {"task": "t" * 64}] * 7)
    assert max(map(len, many)) <= COLUMNS
    assert many[-1] == "and 2 more: see reports/report.html"
