"""What a person types, and what is answered: help, settings, plans, checks, findings, exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import REPOSITORY, CheapProject
from rich.text import Text

from trunkline.cli import run as run_command
from trunkline.cli.app import EXAMPLES, app
from trunkline.cli.cache_health import look_at_artifacts
from trunkline.cli.check import find_faults
from trunkline.cli.health import packages
from trunkline.cli.settings import change_settings
from trunkline.cli.verdict import composite_lines, ending_lines, verdict_lines
from trunkline.errors import BusyError, ParamsError
from trunkline.files import seal, write_json
from trunkline.pipeline.lock import hold

HEAVY = ("torch", "prefect", "great_expectations", "pandas", "sklearn", "dvc")


# --- help -------------------------------------------------------------------------------------------------


def loaded_by(*words: str, cwd: Path = REPOSITORY) -> set[str]:
    """Return which heavy libraries a command has loaded when it ends."""
    code = (
        "import sys; sys.argv = ['trunkline', *sys.argv[1:]]\n"
        "from trunkline.__main__ import main\n"
        "try: main()\n"
        f"finally: print('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return set(line.split()[1:])


def test_help_is_quick_and_loads_no_heavy_library():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "trunkline", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(command.__name__ in done.stdout for command in EXAMPLES)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6  # CPU seconds; 0.35 seen
    assert loaded_by("--help") == set()


def test_plans_and_checks_load_neither_torch_nor_prefect_nor_great_expectations(finished_project):
    assert loaded_by("plan", cwd=finished_project.root) == {"dvc"}
    assert loaded_by("check", cwd=finished_project.root) == set()


@pytest.mark.parametrize("command", [command.__name__ for command in EXAMPLES])
def test_every_command_has_help_with_an_example(command):
    done = subprocess.run([sys.executable, "-m", "trunkline", command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"Example: trunkline {command}" in done.stdout


def test_no_help_loses_what_stands_in_brackets():
    for command in typer.main.get_command(app).commands.values():
        for text in [command.help, command.epilog, *(one.help for one in command.params)]:
            assert Text.from_markup(text).plain == text.replace("\\[", "[")


def test_arguments_are_called_by_words_in_capitals():
    for command in typer.main.get_command(app).commands.values():
        for one in command.params:
            assert one.param_type_name == "option" or one.metavar.isupper()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "Did you mean 'run'? See: trunkline --help"),
        (["run", "--onyl", "train"], "--only"),
        (["stage", "trian"], "did you mean 'train'?"),
        (["stage", "baseline"], "no --task is given; choose one of a, b"),
        (["stage", "baseline", "--task", "c"], "'c' is no task"),
        (["stage", "train", "--task", "a"], "leave --task out"),
        (["run", "--only", "trian"], "did you mean 'train'?"),
        (["predict", "a.onnx"], "Missing argument 'IN'. See: trunkline predict --help"),
        (["promote", "x"], "parse string as an integer. See: trunkline promote --help"),
    ],
)
def test_a_wrong_word_is_answered_in_a_line_with_code_2(finished_project, words, said):
    done = finished_project.call("trunkline", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert said in line


def test_no_command_needs_the_projects_folder_itself(finished_project):
    finished_project.root /= "models"
    done = finished_project.call("trunkline", "plan")
    assert (done.returncode, done.stderr) == (0, "")


def test_outside_a_project_the_answer_is_a_line(tmp_path):
    done = CheapProject(tmp_path).call("trunkline", "run")
    assert done.returncode == 2
    assert "go to the project" in done.stderr


def test_debug_shows_the_traceback(finished_project):
    assert "Traceback" in finished_project.call("trunkline", "run", "--only", "x", "--debug").stderr


# --- run --------------------------------------------------------------------------------------------------


def test_a_run_shows_stages_their_lines_and_the_way_on(finished_project):
    finished_project.change("epochs: 3", "epochs: 4")
    write_evaluation(finished_project.root)
    done = finished_project.call("trunkline", "run")
    assert (done.returncode, done.stderr) == (0, "")
    words = [line.split() for line in done.stdout.splitlines()]
    assert words[0][:2] == ["ingest", "cached"]
    assert words[1] == ["epoch", "1"]
    assert words[2][:2] == ["train", "ran"]
    assert ["task", "metric", "alone", "shared", "gain", "interval", "verdict"] in words


@pytest.mark.parametrize("stage", ["train", "baseline"])
def test_a_run_of_one_stage_shows_no_verdicts_that_are_not_its_own(finished_project, stage):
    write_evaluation(finished_project.root)
    done = finished_project.call("trunkline", "run", "--only", stage)
    assert done.returncode == 0
    assert "verdict" not in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1].endswith("verdicts and model are those of the last whole run")
    answer = json.loads(finished_project.call("trunkline", "run", "--only", stage, "--json").stdout)
    assert answer["evaluation"] is None


def test_json_is_one_object_also_when_a_stage_fails(finished_project):
    done = finished_project.call("trunkline", "run", "--json", "--set", "training.epochs=4", train="fail:GateError")
    assert done.returncode == 6
    answer = json.loads(done.stdout)
    assert [each["state"] for each in answer["stages"]] == ["cached", "failed"]
    assert answer["error"] == {"code": 6, "message": "train: GateError was asked for"}
    assert "training.epochs: 3 -> 4" in done.stderr


def test_prefect_hands_over_to_the_flow_of_the_project(finished_project, monkeypatch):
    monkeypatch.chdir(finished_project.root)
    with pytest.raises(ParamsError, match=r"flows/pipeline\.py"):
        run_command.run(prefect=True)
    (finished_project.root / "flows").mkdir()
    (finished_project.root / "flows" / "pipeline.py").write_text("import sys; print(sys.argv[1:]); sys.exit(4)")
    done = finished_project.call("trunkline", "run", "--prefect", "--only", "train", "--json")
    assert (done.returncode, done.stdout) == (4, "['--only', 'train', '--json']\n")


# --- verdicts ---------------------------------------------------------------------------------------------


def write_evaluation(root: Path, **changes: object) -> None:
    task = {
        "kind": "binary",
        "primary": "roc_auc",
        "shared": {"roc_auc": 0.83},
        "alone": {"roc_auc": 0.82},
        "transfer": {"gain": 0.01, "interval": [0.004, 0.0162], "verdict": "helped"},
    }
    nothing = {"gain": None, "interval": None, "verdict": "inconclusive"}
    unknown = {**task, "shared": {"roc_auc": None}, "transfer": nothing}
    content = {"tasks": {"arr15": task, "cancelled": unknown}, "gates": [], "deployable": True, **changes}
    write_json(root / "reports/evaluation.json", content)


def test_the_verdict_table_is_aligned_and_shows_what_is_unknown(tmp_path):
    write_evaluation(tmp_path)
    lines = verdict_lines(json.loads((tmp_path / "reports/evaluation.json").read_text()))
    assert lines == [
        "task       metric   alone  shared   gain           interval  verdict",
        "arr15      roc_auc   0.82    0.83  +0.01  +0.004 to +0.0162  helped",
        "cancelled  roc_auc   0.82       -      -                  -  inconclusive",
    ]


def test_where_no_average_exists_the_last_line_says_why(tmp_path):
    counts = {"helped": 1, "hurt": 0, "equivalent": 0, "inconclusive": 1}
    write_evaluation(tmp_path, composite={"delta_m_percent": None, "interval": None, **counts})
    evaluation = json.loads((tmp_path / "reports/evaluation.json").read_text())
    evaluation["tasks"]["arr15"]["alone"]["roc_auc"] = 0.0
    said = " ".join(line.strip() for line in composite_lines(evaluation))
    assert said.endswith("no average in percent of the score alone, as that of arr15 is 0 or unknown")


def test_a_run_ends_with_three_paths_and_the_gates_that_failed(tmp_path):
    assert ending_lines(tmp_path) == []
    gates = [
        {"task": "arr15", "rule": "max_regret", "limit": 0.01, "value": 0.002, "bound": 0.0123, "passed": False},
        {"task": "cancelled", "rule": "max_regret", "limit": 0.01, "value": 0.0, "bound": 0.002, "passed": True},
    ]
    write_evaluation(tmp_path, gates=gates, deployable=False)
    (tmp_path / "models/export").mkdir(parents=True)
    (tmp_path / "models/export/model.onnx").touch()
    *_, report, model, following, last = ending_lines(tmp_path)
    assert report.split() == ["report", "reports/report.html"]
    assert model.split() == ["model", "models/export/model.onnx"]
    assert following.startswith("next    trunkline predict models/export/model.onnx")
    assert last == "Not deployable: arr15 max_regret 0.0123 > 0.01"


# --- settings ---------------------------------------------------------------------------------------------


def changed_lines(root: Path, *assignments: str) -> list[str]:
    """Return the lines of params.yaml that differ after `--set`."""
    before = (root / "params.yaml").read_text().splitlines()
    change_settings(root, [*assignments])
    return [line for line in (root / "params.yaml").read_text().splitlines() if line not in before]


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("training.epochs=5", "  epochs: 5                     # passes over the rows"),
        ("training.batch=64", "  batch: 64                     # rows per step"),
        ("training.learning_rate=1e-3", "  learning_rate: 1e-3"),
        ("columns.x.max=20", "  x:    {kind: numeric, min: 0, max: 20}     # the one input"),
        ("tasks.a.weight=2.0", "  a:   {kind: binary, target: a, weight: 2.0}             # yes or no"),
        ("data.key=[x, a]", "  key: [x, a]                   # what identifies a row"),
        ("trunk.size=small", "trunk: {size: small}"),
        ("validation.drift.odds=3.0", "validation: {drift: {odds: 3.0}}"),
    ],
)
def test_set_changes_one_line_and_keeps_its_comment_in_place(finished_project, assignment, line):
    assert changed_lines(finished_project.root, assignment) == [line]


def test_set_says_what_was_and_what_is(finished_project):
    assert change_settings(finished_project.root, ["seed=4", "trunk.size=small"]) == [
        "seed: 3 -> 4",
        "trunk.size: (default) -> small",
    ]


@pytest.mark.parametrize(
    "assignment",
    [
        "training.epoch=5",
        "trianing.epochs=5",
        "training.epochs=many",
        "training.epochs",
        "training=5",
        "seed.x=5",
        "training.epochs=[",
        "export.name=a: b",
    ],
)
def test_a_wrong_set_is_refused_and_touches_nothing(finished_project, assignment):
    before = (finished_project.root / "params.yaml").read_bytes()
    with pytest.raises(ParamsError):
        change_settings(finished_project.root, ["seed=4", assignment])
    assert (finished_project.root / "params.yaml").read_bytes() == before


def test_set_waits_for_no_other_run_and_changes_nothing_under_it(finished_project, monkeypatch):
    monkeypatch.chdir(finished_project.root)
    with hold(finished_project.root), pytest.raises(BusyError):
        run_command.run(changes=["seed=4"])
    assert "seed: 3" in (finished_project.root / "params.yaml").read_text()


# --- check ------------------------------------------------------------------------------------------------


def test_check_finds_every_column_that_no_file_holds(finished_project):
    finished_project.change("  x:    {kind: numeric", "  xx:    {kind: numeric")
    finished_project.change("target: b}", "target: bb}")
    (fault,) = find_faults(finished_project.root)
    assert fault.code == 2
    assert "columns.xx" in fault.message and "did you mean 'x'" in fault.message
    assert "tasks.b.target" in fault.message


def test_check_finds_a_broken_file_beside_a_good_one(finished_project):
    (finished_project.root / "data/incoming/second.parquet").write_bytes(b"PAR1 cut off")
    done = finished_project.call("trunkline", "check", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (3, False)
    assert [finding["code"] for finding in answer["findings"]] == [3]


def test_check_says_that_nothing_is_wrong_and_what_a_drop_lacks(finished_project):
    assert "1 file holds every column" in find_faults(finished_project.root)[1].message
    (finished_project.root / "data/incoming/second.csv").write_text("x,a\n2,0\n")
    done = finished_project.call("trunkline", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "second.csv: lacks b" in done.stdout


def test_check_tells_where_the_sides_began_that_follow_the_newest_row(finished_project):
    root = finished_project.root
    finished_project.change("kind: random", "{kind: time, column: at, validation: 2 months, test: 1 month}")
    (root / "data/incoming/first.csv").write_text("x,a,b,at\n1,0,1,2013-12-15\n")
    assert "no run has told yet where they begin" in find_faults(root)[-1].message
    write_json(root / "data/split/manifest.json", {"windows": {"train": None, "test": "2013-12-01T00:00:00+00:00"}})
    assert "they began at: test 2013-12-01T00:00:00+00:00" in find_faults(root)[-1].message


def test_where_ingest_makes_the_data_only_params_are_checked(finished_project):
    finished_project.change("data:\n", "data:\n  source: {kind: nycflights13}\n")
    (finished_project.root / "data/incoming/first.csv").unlink()
    assert "only params.yaml was checked" in find_faults(finished_project.root)[-1].message


# --- doctor -----------------------------------------------------------------------------------------------


def test_doctor_finds_a_damaged_object_of_the_cache_and_a_broken_seal(finished_project):
    root = finished_project.root
    (root / "data/sealed").mkdir()
    (root / "data/sealed/rows").write_text("whole")
    seal(root / "data/sealed", ["rows"])
    assert [finding.state for finding in look_at_artifacts(root)] == ["ok", "ok"]
    (root / "data/sealed/rows").write_text("wholy")
    damaged = next(path for path in (root / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    damaged.chmod(0o644)
    damaged.write_bytes(b"rot")
    damaged.chmod(0o444)
    cache, broken = look_at_artifacts(root)
    assert (cache.state, cache.code) == ("fault", 4) and str(damaged) in cache.found
    assert (broken.state, broken.code) == ("fault", 4) and str(damaged) not in broken.found


def test_doctor_compares_what_is_installed_with_the_lock(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("pydantic==0.0.1\n")
    assert packages(lock).state == "warn"
    lock.write_text("no-such-package-here==1.0\n")
    assert packages(lock).state == "fault"
    assert packages(tmp_path / "absent").state == "warn"


def test_doctor_looks_at_the_machine_and_names_repairs(finished_project):
    done = finished_project.call("trunkline", "doctor", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (0, True)
    found = {finding["what"]: finding for finding in answer["findings"]}
    assert {"python", "packages", "torch", "disk", "git", "pipeline", "lock", "prefect"} == set(found)
    assert all(finding["fix"] for finding in found.values() if finding["state"] != "ok")


# --- streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_a_reader_that_stops_reading_causes_no_traceback(words):
    process = subprocess.Popen(
        [sys.executable, "-m", "trunkline", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    process.stdout.close()
    with process.stderr as error:
        assert error.read() == b""
    process.wait()
