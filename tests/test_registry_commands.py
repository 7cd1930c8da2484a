"""The commands around the registry in a project of git and DVC: run --promote, versions, lineage, verify, gc."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import GLUE, REPOSITORY, CheapProject
from published import BETTER, RIGHT, WRONG, make_project, write_export

from trunkline.cli.app import main
from trunkline.errors import ArtifactError, BusyError
from trunkline.files import read_json, sha256
from trunkline.pipeline.dvc_cache import object_path, stage_hashes
from trunkline.pipeline.garbage import find_unused
from trunkline.pipeline.lock import hold

PIPELINE = """\
stages:
  ingest:
    cmd: mkdir -p data/raw && cp made/manifest.json data/raw/
    deps: [data/incoming, made]
    outs: [data/raw]
  split:
    cmd: mkdir -p data/split && cp split/* data/split/
    deps: [data/raw, split]
    outs: [data/split]
  train:
    cmd: mkdir -p models/shared && cp params.yaml models/shared/run.json
    deps: [data/split, params.yaml]
    outs: [models/shared]
  export:
    cmd: mkdir -p models/export reports && cp made/export/* models/export/ && cp made/evaluation.json reports/
    deps: [made, models/shared]
    outs: [models/export]
    metrics: [reports/evaluation.json: {cache: false}]
"""


class Released(CheapProject):
    """A project of git and DVC whose last stage hands out a model made before."""

    def make(self, weights: tuple[float, float]) -> None:
        """Let the next run end with this model."""
        write_export(self.root, weights)
        made = self.root / "made"
        shutil.rmtree(made, ignore_errors=True)
        shutil.move(self.root / "models/export", made / "export")
        shutil.move(self.root / "reports/evaluation.json", made / "evaluation.json")
        (drop,) = (self.root / "data/incoming").iterdir()
        facts = {"name": drop.name, "rows": 2, "sha256": sha256(drop)}
        (made / "manifest.json").write_text(json.dumps({"version": 1, "files": {}, "drops": [facts]}))

    def run(self, weights: tuple[float, float]) -> subprocess.CompletedProcess[str]:
        """Run with this model at the end, and promote it."""
        self.make(weights)
        return self.call("trunkline", "run", "--promote")

    def commit(self) -> None:
        """Commit everything that git does not ignore."""
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        for words in (["add", "-A"], [*name, "commit", "--quiet", "-m", "run"]):
            subprocess.run(["git", *words], cwd=self.root, check=True)

    def say(self, *words: str) -> tuple[int, str]:
        """Return exit code and answer of a command, in this process: loading the libraries costs more than the work."""
        out = io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            return main(list(words)), out.getvalue()

    def json(self, *words: str) -> tuple[int, Any]:
        """Return exit code and answer of a command."""
        code, said = self.say(*words, "--json")
        return code, json.loads(said)

    @property
    def folder(self) -> Path:
        return self.root / "models/registry/model"


@pytest.fixture(scope="module")
def released_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """The folder of a project that ran three times, and what the runs said; to be copied."""
    project = Released(tmp_path_factory.mktemp("released") / "project")
    make_project(project.root, rows=400)
    for name in GLUE:
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, project.root / name)
    (project.root / "data/incoming").mkdir(parents=True)
    (project.root / "data/incoming/january.csv").write_text("x,late\n1,0\n2,1\n")
    (project.root / "dvc.yaml").write_text(PIPELINE)
    (project.root / ".gitignore").write_text(".trunkline/\n/data\n/models\n/made\n/split\n/reports\n")
    subprocess.run(["git", "init", "--quiet", "."], cwd=project.root, check=True)
    shutil.copytree(project.root / "data/split", project.root / "split")
    said = []
    for weights in (WRONG, RIGHT, BETTER):
        said.append(project.run(weights))
        project.commit()
    return project.root, said


@pytest.fixture
def project(released_once, tmp_path: Path) -> Released:
    shutil.copytree(released_once[0], tmp_path / "project")
    return Released(tmp_path / "project")


# --- run and decide ---------------------------------------------------------------------------------------


def test_a_run_ends_with_the_decision_on_its_model_and_says_why(released_once):
    first, better, worse = released_once[1]
    assert (first.returncode, better.returncode, worse.returncode) == (0, 0, 6), first.stderr + better.stderr
    assert "In service: version 1 of model; it is the first in service" in first.stdout
    assert "In service: version 2 of model; no task that decides loses more" in better.stdout
    assert "Kept out: version 3 of model; version 2 stays in service: late roc_auc may be" in worse.stdout
    assert worse.stdout.index("Deployable: yes") < worse.stdout.index("Kept out")


def test_versions_are_listed_with_their_origin_and_the_one_in_service(project):
    code, found = project.json("versions")
    assert (code, found["aliases"]) == (0, {"candidate": 3, "champion": 2, "previous": 1})
    assert [each["version"] for each in found["versions"]] == [3, 2, 1]
    assert found["versions"][0]["stage"] == "kept out"
    lines = [line for line in project.say("versions")[1].splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == ["version", "3", "2", "1"]
    assert " champion " in lines[2]


@pytest.mark.parametrize(("terminal", "width"), [("80", 80), (None, 100), ("300", 100)])
def test_the_reasons_of_versions_stand_below_them_in_lines_that_fit(project, monkeypatch, terminal, width):
    monkeypatch.setenv("COLUMNS", terminal) if terminal else monkeypatch.delenv("COLUMNS", raising=False)
    lines = project.say("versions")[1].splitlines()
    assert width - 20 < max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    reason = " ".join(line.strip() for line in lines[2 : lines.index(next(line for line in lines if line[0] == "2"))])
    assert reason == project.json("versions")[1]["versions"][0]["promoted"][-1]["why"]


def test_the_commands_of_a_person_take_back_and_put_into_service(project):
    assert project.say("promote", "3")[0] == 6
    code, said = project.say("promote", "3", "--force")
    assert (code, "--because" in said) == (2, True)
    assert project.json("promote", "3", "--force", "--because", "a trial")[1]["champion"] == 3
    assert project.json("rollback", "--because", "it failed")[1]["champion"] == 2
    assert read_json(project.folder / "aliases.json") == {"champion": 2, "previous": 1}
    code, said = project.say("run", "--only", "export", "--promote")
    assert (code, "leave one out" in said) == (2, True)


# --- where it came from -----------------------------------------------------------------------------------


def states(links: list[dict[str, str]]) -> dict[str, str]:
    return {each["name"].strip(): each["state"] for each in links}


def test_lineage_goes_from_the_model_down_to_the_drops(project):
    code, found = project.json("lineage", "models/registry/model/2/model.onnx")
    assert (code, found["version"]) == (0, 2)
    links = {each["name"].strip(): each["found"] for each in found["links"]}
    assert list(links) == [
        "model", "card", "settings", "data", "dvc.lock", "ingest", "split", "train", "export", "revision", "drop",
    ]  # fmt: skip
    assert set(states(found["links"]).values()) == {"ok"}
    assert links["revision"].endswith("committed later, or never")
    assert links["drop"].startswith("january.csv, 2 rows")
    assert "data/split " in links["split"]


def test_lineage_of_an_export_names_the_version_it_became(project):
    code, found = project.json("lineage", "models/export/model.onnx")
    assert (code, found["version"]) == (0, 3)
    (project.root / "models/export/model.onnx").write_bytes(b"other")
    code, found = project.json("lineage", "models/export/model.onnx")
    assert (code, found["version"], states(found["links"])["card"]) == (4, None, "altered")


def test_lineage_says_where_a_link_is_missing_or_altered(project):
    (project.root / "data/incoming/january.csv").write_text("x,late\n1,1\n")
    shutil.rmtree(project.root / "data/split")
    lock = project.folder / "2/dvc.lock"
    place = object_path(project.root / ".dvc/cache/files/md5", stage_hashes(lock)["split"]["data/split"])
    _, found = project.json("lineage", "2")
    assert states(found["links"])["data"] == "ok"  # still in DVC's cache
    place.unlink()
    lock.write_text(lock.read_text() + "\n")
    code, found = project.json("lineage", "2")
    wanted = {"model": "altered", "dvc.lock": "altered", "data": "missing", "drop": "altered", "card": "ok"}
    assert (code, {name: states(found["links"])[name] for name in wanted}) == (4, wanted)


# --- verify -----------------------------------------------------------------------------------------------


def test_verify_finds_nothing_in_a_project_as_it_was_left(project):
    code, found = project.json("verify")
    assert (code, found["faults"]) == (0, [])
    assert found["looked_at"] > 20


@pytest.mark.parametrize(
    "path",
    [
        "models/registry/model/1/card.json",
        "data/split/rows.parquet",
        "reports/evaluation.json",
        "models/shared/run.json",
    ],
)
def test_verify_names_the_file_that_was_altered(project, path):
    content = bytearray((project.root / path).read_bytes())
    content[len(content) // 2] ^= 1
    (project.root / path).unlink()
    (project.root / path).write_bytes(bytes(content))
    code, said = project.say("verify")
    assert code == 4
    assert path in said


def test_verify_beside_a_run_is_answered_while_all_is_well_and_blames_no_file_that_the_run_may_be_writing(project):
    with hold(project.root):
        assert project.say("verify")[0] == 0
        (project.root / "reports/evaluation.json").unlink()
        code, said = project.say("verify")
    assert code == BusyError.code
    assert "is running it" in said and "evaluation.json" not in said
    code, said = project.say("verify")
    assert (code, "evaluation.json: is missing" in said) == (ArtifactError.code, True)


def test_verify_is_not_content_where_nothing_says_what_was_written(project):
    (project.root / "dvc.lock").unlink()
    code, said = project.say("verify")
    assert code == 4
    assert "dvc.lock: is missing" in said and "git checkout dvc.lock" in said


def test_verify_finds_a_poisoned_object_of_the_cache_and_an_alias_that_points_nowhere(project):
    name = stage_hashes(project.root / "dvc.lock")["split"]["data/split"]
    place = object_path(project.root / ".dvc/cache/files/md5", name)
    inside = object_path(place.parents[1], json.loads(place.read_text())[0]["md5"])
    inside.chmod(0o644)
    inside.write_bytes(b"poison")
    shutil.rmtree(project.folder / "2")
    code, found = project.json("verify")
    said = "\n".join(each["fault"] for each in found["faults"])
    assert code == 4
    assert str(inside) in said
    assert "alias 'champion' points to it" in said


# --- gc ---------------------------------------------------------------------------------------------------


def test_gc_keeps_what_head_and_the_named_versions_refer_to_and_frees_the_rest(project):
    project.run((-0.5, 0.5))
    project.commit()
    model = project.root / ".trunkline/checkpoints/shared/0/epoch.pt"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"0" * 1000)  # an interrupted training, younger than the last finished run
    code, planned = project.json("gc", "--keep", "1", "--dry-run")
    assert (code, planned["removed"]) == (0, False)
    assert [each["path"] for each in planned["found"] if each["what"] == "version"] == ["models/registry/model/3"]
    assert any(each["what"] == "object" for each in planned["found"])
    assert planned["bytes"] == sum(each["bytes"] for each in planned["found"]) > 0
    assert all((project.root / each["path"]).exists() for each in planned["found"])
    assert project.json("gc", "--keep", "1")[0] == 0
    assert not any((project.root / each["path"]).exists() for each in planned["found"])
    assert model.exists()
    assert project.json("versions")[1]["aliases"] == {"candidate": 4, "champion": 2, "previous": 1}
    assert project.json("verify")[0] == 0
    assert set(states(project.json("lineage", "2")[1]["links"]).values()) == {"ok"}
    shutil.rmtree(project.root / "models/export")
    assert project.call("dvc", "checkout", "-q").returncode == 0
    assert project.json("gc", "--keep", "1")[1]["found"] == []
    assert project.json("gc", "--keep", "500")[1]["found"] == []  # more than there are revisions


def test_gc_frees_the_work_of_ended_runs(project):
    for place in ("checkpoints/shared", "groups/old"):
        (project.root / ".trunkline" / place).mkdir(parents=True)
        (project.root / ".trunkline" / place / "file").write_bytes(b"0" * 1000)
    assert not [each for each in find_unused(project.root, 3) if each.what == "work"]
    (record,) = sorted((project.root / ".trunkline/runs").iterdir())[-1:]
    os.utime(record, (time.time() + 60, time.time() + 60))
    found = [each.path.name for each in find_unused(project.root, 3) if each.what == "work"]
    assert found == ["shared", "old"]


def test_gc_removes_nothing_where_it_cannot_tell_what_is_in_use(project):
    name = stage_hashes(project.root / "dvc.lock")["split"]["data/split"]
    object_path(project.root / ".dvc/cache/files/md5", name).unlink()
    code, said = project.say("gc", "--keep", "1")
    assert code == 4
    assert "data/split: DVC's cache does not hold the list of its files" in said
    assert project.json("versions")[1]["versions"][0]["version"] == 3


def test_gc_leaves_a_cache_alone_that_lies_outside_the_project(project, tmp_path):
    shutil.move(project.root / ".dvc/cache", tmp_path / "cache")
    with open(project.root / ".dvc/config", "a") as config:
        config.write(f"[cache]\n    dir = {tmp_path / 'cache'}\n")
    assert [each for each in find_unused(project.root, 1) if each.what == "object"] == []


# --- on another machine -----------------------------------------------------------------------------------


def test_a_registry_that_dvc_versions_travels_with_the_project_and_follows_every_decision(project, tmp_path):
    (project.root / ".gitignore").write_text((REPOSITORY / ".gitignore").read_text() + "/made\n/split\n")
    for words in (["remote", "add", "-q", "-d", "shared", str(tmp_path / "remote")], ["add", "-q", "models/registry"]):
        assert project.call("dvc", *words).returncode == 0
    project.commit()
    assert project.call("dvc", "push", "-q").returncode == 0
    other = Released(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", project.root, other.root], check=True)
    assert not other.folder.exists()
    assert other.call("dvc", "pull", "-q").returncode == 0
    assert other.json("versions") == project.json("versions")
    assert other.json("rollback", "--because", "it failed")[1]["champion"] == 1
    other.commit()  # with the changed models/registry.dvc; `dvc status` would name it otherwise
    assert other.json("gc", "--keep", "1")[0] == 0
    assert other.call("dvc", "status", "models/registry.dvc").stdout.startswith("Data and pipelines are up to date")
    assert other.call("dvc", "push", "-q").returncode == 0
    other.commit()
    subprocess.run(["git", "pull", "--quiet", other.root], cwd=project.root, check=True)
    assert project.call("dvc", "pull", "-q").returncode == 0
    assert project.json("versions")[1]["aliases"] == {"candidate": 3, "champion": 1}
    assert project.json("lineage", "1")[0] == 0
