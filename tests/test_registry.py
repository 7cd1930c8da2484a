"""Which model is in service: published whole, compared on today's rows, promoted or kept out, taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import BETTER, RIGHT, SLIGHTLY_OFF, WRONG, make_project, write_export, write_split

from trunkline.cli.promotion import decision_lines
from trunkline.errors import ArtifactError, BusyError, ParamsError
from trunkline.files import read_json
from trunkline.pipeline.lock import hold
from trunkline.pipeline.release import release, take_back
from trunkline.project import Project
from trunkline.registry import Registry
from trunkline.registry.compare import compare_in_service
from trunkline.registry.promote import Decision, promote
from trunkline.registry.publish import publish

FAILED = {"task": "late", "rule": "min_value", "limit": 0.9, "value": 0.8, "bound": 0.79, "passed": False}


def deploy(root: Path, weights: tuple[float, float], **changes: Any) -> Decision:
    """End a run with this model, and put it into service if it may be."""
    write_export(root, weights, **changes)
    return release(root)


def shelf(root: Path) -> Registry:
    return Registry(root, "model")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


# --- publish ----------------------------------------------------------------------------------------------


def test_a_version_holds_the_export_its_scores_and_its_origin(project, tmp_path):
    write_export(tmp_path)
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    assert publish(tmp_path, project, "abc+") == 1
    folder = shelf(tmp_path).path(1)
    exported = {"model.onnx", "card.json", "MODEL_CARD.md", "sample.parquet", "reference.json"}
    names = exported | {"evaluation.json", "entry.json"}
    assert {path.name for path in folder.iterdir()} == names | {"params.yaml", "dvc.lock", "manifest.json"}
    origin = read_json(folder / "entry.json")["created_from"]
    assert (origin["revision"], origin["dirty"]) == ("abc", True)
    assert origin["data_sha256"] == read_json(tmp_path / "data/split/manifest.json")["files"]["rows.parquet"]["sha256"]
    assert shelf(tmp_path).aliases() == {"candidate": 1}


def test_the_same_model_again_is_the_same_version_and_another_one_the_next(project, tmp_path):
    write_export(tmp_path)
    assert [publish(tmp_path, project), publish(tmp_path, project)] == [1, 1]
    write_export(tmp_path, SLIGHTLY_OFF)
    assert publish(tmp_path, project) == 2
    write_export(tmp_path, SLIGHTLY_OFF, gates=[FAILED])  # the same weights, judged otherwise
    assert publish(tmp_path, project) == 3
    write_export(tmp_path)
    assert publish(tmp_path, project) == 1  # back to earlier settings, such as after a trial with --set
    assert shelf(tmp_path).aliases() == {"candidate": 1}


@pytest.mark.parametrize("damage", ["model.onnx", "manifest.json"])
def test_a_version_that_was_damaged_is_published_anew(project, tmp_path, damage):
    write_export(tmp_path)
    publish(tmp_path, project)
    (shelf(tmp_path).path(1) / damage).write_text("{}")
    assert publish(tmp_path, project) == 2
    assert shelf(tmp_path).check(2)


def test_an_altered_export_or_scores_of_another_model_are_not_published(project, tmp_path):
    model = write_export(tmp_path)
    (tmp_path / "reports/evaluation.json").write_text('{"gates": [], "deployable": false, "composite": {}}')
    with pytest.raises(ArtifactError, match="is not the evaluation that"):
        publish(tmp_path, project)
    write_export(tmp_path)
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match=r"model\.onnx: was altered"):
        publish(tmp_path, project)
    assert shelf(tmp_path).versions() == []


# --- promote ----------------------------------------------------------------------------------------------


def test_the_first_model_is_put_into_service_when_its_run_is_deployable(project, tmp_path):
    refused = deploy(tmp_path, RIGHT, gates=[FAILED])
    assert not refused.promoted
    assert "its run is not deployable (late min_value 0.79 < 0.9)" in refused.why
    assert shelf(tmp_path).aliases() == {"candidate": 1}
    assert deploy(tmp_path, RIGHT).champion == 2
    assert shelf(tmp_path).aliases() == {"champion": 2}


def test_a_better_model_takes_over_and_every_task_is_shown(project, tmp_path):
    deploy(tmp_path, WRONG)
    decision = deploy(tmp_path, RIGHT)
    assert (decision.promoted, decision.before, decision.champion) == (True, 1, 2)
    assert shelf(tmp_path).aliases() == {"champion": 2, "previous": 1}
    assert {each.task: each.metric for each in decision.comparison.tasks} == {
        "late": "roc_auc", "size": "accuracy", "delay": "r2",
    }  # fmt: skip
    assert all(each.interval[0] > 0 for each in decision.comparison.tasks)
    text = "\n".join(decision_lines(decision))
    assert "version 1  version 2" in text
    assert " ".join(text.split()).endswith("loses more against version 1 than it may, and its run is deployable")


def test_a_worse_model_is_kept_out_and_the_reason_is_kept_with_it(project, tmp_path):
    deploy(tmp_path, RIGHT)
    decision = deploy(tmp_path, WRONG)
    assert not decision.promoted
    assert decision.why.startswith("version 1 stays in service: late roc_auc may be 0.")
    assert [part.split()[0] for part in decision.why.partition(": ")[2].split("; ")] == ["late", "size", "delay"]
    assert shelf(tmp_path).aliases() == {"champion": 1, "candidate": 2}
    (kept,) = shelf(tmp_path).entry(2)["promoted"]
    assert (kept["alias"], kept["why"]) == ("kept out", decision.why)
    assert [(gate["task"], gate["passed"]) for gate in kept["gates"]] == [(t, False) for t in ("late", "size", "delay")]
    assert deploy(tmp_path, WRONG).why == decision.why
    assert len(shelf(tmp_path).entry(2)["promoted"]) == 1  # the same decision is not written again


def test_what_a_task_may_lose_and_which_tasks_decide_is_declared(tmp_path):
    generous = {"late": 1.0, "size": 1.0, "delay": 9.0}
    make_project(tmp_path, promotion={"max_regret": generous})
    deploy(tmp_path, RIGHT)
    assert deploy(tmp_path, WRONG).promoted
    make_project(tmp_path, promotion={"tasks": ["delay"], "max_regret": {"delay": 9.0}})
    decision = deploy(tmp_path, SLIGHTLY_OFF)
    assert decision.promoted
    assert [gate["task"] for gate in decision.gates] == ["delay"]


def test_a_task_without_enough_labels_today_is_no_evidence(project, tmp_path):
    deploy(tmp_path, RIGHT)
    table = pq.read_table(tmp_path / "data/split/rows.parquet")
    test = pa.compute.equal(table["side"], "test")
    blank = pa.compute.if_else(test, pa.scalar(None, pa.float64()), table["delay"])
    write_split(tmp_path, table.set_column(table.schema.get_field_index("delay"), "delay", blank))
    decision = deploy(tmp_path, RIGHT, description="the same weights once more")
    assert not decision.promoted
    assert decision.why == "version 1 stays in service: delay r2 cannot be told: too few labelled test rows"


def test_a_model_that_reads_a_column_which_is_gone_is_not_compared_but_can_be_replaced_by_force(tmp_path):
    make_project(tmp_path)
    deploy(tmp_path, RIGHT)
    table = pq.read_table(tmp_path / "data/split/rows.parquet")
    write_split(tmp_path, table.drop_columns(["origin"]))
    decision = deploy(tmp_path, SLIGHTLY_OFF)
    assert not decision.promoted
    assert "cannot read today's rows: column 'origin' is missing" in decision.why
    forced = release(tmp_path, 2, because="origin is not delivered any more")
    assert forced.champion == 2
    assert "origin is not delivered any more" in shelf(tmp_path).entry(2)["promoted"][-1]["why"]


def test_a_model_that_lacks_a_task_in_service_is_kept_out_and_one_more_task_is_only_shown(project, tmp_path):
    deploy(tmp_path, RIGHT)
    outputs = json.loads((tmp_path / "models/export/card.json").read_text())["outputs"]
    fewer = [each for each in outputs if each["task"] != "delay"]
    decision = deploy(tmp_path, SLIGHTLY_OFF, outputs=fewer)
    assert "version 1 predicts task 'delay', which the new model does not" in decision.why
    release(tmp_path, 2, because="nobody reads it")
    again = deploy(tmp_path, SLIGHTLY_OFF)
    assert again.promoted
    assert again.comparison.new == ["delay"]
    assert "new: delay" in "\n".join(decision_lines(again))


def test_where_no_task_that_decides_can_be_compared_there_is_no_evidence(tmp_path):
    make_project(tmp_path, promotion={"tasks": ["delay"]})
    write_export(tmp_path)
    outputs = json.loads((tmp_path / "models/export/card.json").read_text())["outputs"]
    deploy(tmp_path, RIGHT, outputs=[each for each in outputs if each["task"] != "delay"])
    decision = deploy(tmp_path, RIGHT)
    assert decision.why.endswith("none of the tasks that decide is predicted by both models")


def test_what_others_say_against_a_version_keeps_it_out(project, tmp_path):
    write_export(tmp_path)
    publish(tmp_path, project)
    decision = promote(tmp_path, project, objections=["late fell below its floor in service"])
    assert decision.why == "nothing is put into service: late fell below its floor in service"


def test_both_models_are_scored_by_the_class_and_not_by_its_place(project, tmp_path):
    deploy(tmp_path, RIGHT)
    write_export(tmp_path, SLIGHTLY_OFF)
    publish(tmp_path, project)
    accuracy = {each.task: each for each in compare_in_service(tmp_path, project).tasks}["size"].champion
    assert accuracy > 0.7  # the card has small, middle, large; today's classes are in the order of the alphabet


# --- what must not happen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.onnx", "card.json", "evaluation.json"])
def test_no_alias_moves_to_a_version_that_was_altered(project, tmp_path, name):
    deploy(tmp_path, WRONG)
    write_export(tmp_path, RIGHT)
    publish(tmp_path, project)
    path = shelf(tmp_path).path(2) / name
    path.write_bytes(path.read_bytes()[:-1])
    for reason in (None, "now"):
        with pytest.raises(ArtifactError, match=f"{name}: was altered"):
            release(tmp_path, 2, because=reason)
    assert shelf(tmp_path).aliases() == {"candidate": 2, "champion": 1}


def test_a_damaged_model_in_service_is_named_and_a_person_can_replace_it(project, tmp_path):
    deploy(tmp_path, WRONG)
    (shelf(tmp_path).path(1) / "model.onnx").unlink()
    write_export(tmp_path, RIGHT)
    with pytest.raises(ArtifactError, match=r"model/1/model\.onnx: is missing"):
        release(tmp_path)
    assert release(tmp_path, because="the file is gone").champion == 2
    assert shelf(tmp_path).aliases() == {"champion": 2}  # there is nothing whole to go back to


def test_a_second_decision_at_the_same_time_is_refused(project, tmp_path):
    write_export(tmp_path)
    with hold(tmp_path), pytest.raises(BusyError):
        release(tmp_path)
    assert not (tmp_path / "models/registry").exists()


KILLED_AT_EACH_RENAME = """
import os, shutil, signal, sys
from pathlib import Path
from trunkline.pipeline.release import release, take_back
from trunkline.registry import Registry

def killed(root, at, work):
    child = os.fork()
    if child == 0:
        seen = []
        def count(event, args):
            if event in ("os.rename", "os.mkdir"):
                seen.append(event)
                if len(seen) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        work(root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

def instants(start, words):
    work = {"release": release, "take_back": take_back}[words]
    work(Path(shutil.copytree(start, Path(sys.argv[1]) / words)))  # loads the libraries once
    at = 0
    while True:
        at, root = at + 1, Path(sys.argv[1]) / f"{words}-{at}"
        shutil.copytree(start, root)
        before = Registry(root, "model").aliases()
        was_killed = killed(root, at, work)
        registry = Registry(root, "model")
        aliases = registry.aliases()
        for version in {*registry.versions(), *aliases.values()}:
            registry.check(version), registry.entry(version)
        if "champion" in aliases and aliases["champion"] != before.get("champion"):
            assert registry.entry(aliases["champion"])["promoted"], "in service without a reason"
        if not was_killed:
            return at - 1
        if at % 3:
            continue
        work(root)
        if words == "release":
            assert registry.aliases() == {"champion": 2, "previous": 1}, registry.aliases()
            assert registry.versions() == [1, 2]
            assert not [*registry.folder.glob(".*")]

print(instants(Path(sys.argv[2]), sys.argv[3]))
"""


@pytest.mark.parametrize("words", ["release", "take_back"])
def test_a_kill_between_any_two_writes_leaves_a_registry_that_says_the_truth(project, tmp_path, words):
    start = tmp_path / "start"
    make_project(start, rows=200)
    for weights in (WRONG, BETTER, RIGHT) if words == "take_back" else (WRONG,):
        write_export(start, weights)
        release(start, because="to have one that can be taken back")
    if words == "release":
        write_export(start, RIGHT)
    command = [sys.executable, "-c", KILLED_AT_EACH_RENAME, str(tmp_path), str(start), words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= (12 if words == "release" else 2)


# --- rollback ---------------------------------------------------------------------------------------------


def test_one_command_takes_a_model_back_and_it_returns_by_force_only(project, tmp_path):
    for weights in (WRONG, BETTER, RIGHT):
        deploy(tmp_path, weights)
    assert shelf(tmp_path).aliases() == {"champion": 3, "previous": 2}
    decision = take_back(tmp_path, because="arrivals are off")
    assert (decision.champion, decision.before) == (2, 3)
    assert shelf(tmp_path).entry(3)["stage"] == "rolled back"
    again = release(tmp_path)  # the next run ends with the same model
    assert not again.promoted
    assert "version 3 with the same model was taken back" in again.why
    assert take_back(tmp_path).champion == 1
    with pytest.raises(ParamsError, match="no version before 1 can be gone back to"):
        take_back(tmp_path)
    assert release(tmp_path, 3, because="the data was off, not the model").champion == 3
    assert take_back(tmp_path).champion == 1


def test_nothing_goes_back_to_a_version_that_was_altered(project, tmp_path):
    deploy(tmp_path, WRONG)
    deploy(tmp_path, RIGHT)
    (shelf(tmp_path).path(1) / "card.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"card\.json: was altered"):
        take_back(tmp_path)
    assert shelf(tmp_path).aliases()["champion"] == 2


def test_damaged_aliases_are_named_with_the_way_on(project, tmp_path):
    deploy(tmp_path, RIGHT)
    (shelf(tmp_path).folder / "aliases.json").write_text('{"champion": "1"}')
    with pytest.raises(ArtifactError, match=r"aliases\.json: is damaged"):
        release(tmp_path)


def test_an_unknown_version_is_named_with_those_there_are(project, tmp_path):
    with pytest.raises(ParamsError, match="has no version 7; none was published yet"):
        release(tmp_path, 7)
    deploy(tmp_path, RIGHT)
    with pytest.raises(ParamsError, match="has no version 7; there are 1"):
        release(tmp_path, 7)
