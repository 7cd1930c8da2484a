"""What must say the same in several places does, and what must stay apart is apart."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib

import pytest
from closure import files_behind
from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.version import Version
from ruamel.yaml import YAML

from trunkline.project import Project
from trunkline.stages import STAGES

NINE = ["ingest", "validate", "split", "rebalance", "encode", "train", "baseline", "evaluate", "export"]
PIPELINE = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
SOURCE = (REPOSITORY / "src/trunkline/stages.py").read_text()

# What these hold decides what is refused and in which words, or is params, of which a stage lists its own; never
# a value in an output.
NOT_FOLLOWED = frozenset({"trunkline", "trunkline.errors", "trunkline.declared", "trunkline.project"})

every_stage = pytest.mark.parametrize("stage", NINE)


def settings_of(stage: str) -> dict[str, object]:
    """Return what dvc.yaml says of a stage; of one task for `baseline`."""
    return PIPELINE[stage].get("do", PIPELINE[stage])


# --- the same words ---------------------------------------------------------------------------------------


def test_the_nine_words_are_the_same_in_the_same_order_everywhere():
    assert list(STAGES) == NINE
    assert list(PIPELINE) == NINE
    defined = [node.name for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)]
    assert [name for name in defined if name in NINE] == NINE


def test_the_readme_tells_of_the_nine_stages_in_their_order():
    readme = REPOSITORY / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    assert re.search(r"\b.*?\b".join(NINE), readme.read_text(), re.DOTALL)


@every_stage
def test_dvc_calls_each_stage_by_its_name_and_by_nothing_of_this_machine(stage):
    task = " --task ${key}" if stage == "baseline" else ""
    assert settings_of(stage)["cmd"] == f"sh .ci/in-env.sh python -m trunkline stage {stage}{task}"


# --- what a stage depends on ------------------------------------------------------------------------------


def code_deps(stage: str) -> list[str]:
    return [dep for dep in settings_of(stage)["deps"] if dep.startswith("src/")]


def lies_in(file: str, dep: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@every_stage
def test_a_change_of_any_code_behind_a_stage_runs_it_again(stage):
    files = files_behind("trunkline.stages", stage, NOT_FOLLOWED)
    missing = sorted(file for file in files if not any(lies_in(file, dep) for dep in code_deps(stage)))
    assert not missing, f"dvc.yaml: deps of {stage} lack {missing}"


@every_stage
def test_no_stage_depends_on_code_that_it_cannot_reach(stage):
    files = files_behind("trunkline.stages", stage, NOT_FOLLOWED)
    idle = [dep for dep in code_deps(stage) if not any(lies_in(file, dep) for file in files)]
    assert not idle, f"dvc.yaml: {stage} needs none of {idle}"


def test_the_files_behind_a_function_are_found_through_calls_imports_and_annotations():
    files = files_behind("trunkline.stages", "train", NOT_FOLLOWED)
    assert {"src/trunkline/stages.py", "src/trunkline/files.py", "src/trunkline/chance.py"} <= files
    assert "src/trunkline/tasks/binary.py" in files
    assert not any("/cli/" in file or "/pipeline/" in file for file in files)
    assert "src/trunkline/data/ingest.py" not in files


def params_read(stage: str) -> set[str]:
    """Return what a stage's function takes from its project, such as data.key, helpers included."""
    functions = {node.name: node for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)}
    todo, seen = [stage], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [n.id for n in ast.walk(functions[name]) if isinstance(n, ast.Name) and n.id in functions]
    text = "\n".join(ast.unparse(functions[name]) for name in seen)
    return set(re.findall(r"\bproject\.((?:data\.)?[a-z_]+(?:\.kind)?)", text))


@every_stage
def test_each_stage_lists_the_params_that_it_reads_and_no_others(stage):
    listed = {param.removesuffix(".${key}") for param in settings_of(stage)["params"]}
    read = params_read(stage)
    read |= {"quality"} if "trunk" in read else set()  # which it may decide, see Project._best_trunk
    unlisted = [key for key in read if key not in listed and key.partition(".")[0] not in listed]
    unread = [key for key in listed if key not in read and not any(other.startswith(f"{key}.") for other in read)]
    assert not unlisted, f"dvc.yaml: params of {stage} lack {unlisted}"
    assert not [key for key in unread if has_choice(key)], f"dvc.yaml: {stage} reads none of {unread}"


def has_choice(section: str) -> bool:
    """Whether params.yaml can say more than one thing there; a stage need not read what is always the same."""
    declared = Project.model_fields[section.partition(".")[0]].annotation
    return list(getattr(declared, "model_fields", [])) != ["kind"]


def test_code_of_methods_is_never_hidden_in_hashes_by_nested_gitignore_files():
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    outs = [out if isinstance(out, str) else next(iter(out)) for name in NINE for out in settings_of(name)["outs"]]
    for out in outs:
        top = "/models/?*" if out.startswith("models/") else "/reports/*" if out.startswith("reports/") else f"/{out}"
        assert top in ignored
    assert {".gitignore", "__pycache__", "*.pyc"} <= set((REPOSITORY / ".dvcignore").read_text().split())


# --- what stays apart -------------------------------------------------------------------------------------


def test_rooms_depend_downward_only():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_reading_params_loads_no_heavy_library():
    code = "import sys; from trunkline.project import load_project; load_project(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not {"torch", "prefect", "great_expectations", "pandas", "sklearn", "dvc"} & set(done.stdout.split())


def test_prefect_lives_in_the_flow_alone():
    sources = (REPOSITORY / "src").rglob("*.py")
    assert not [path for path in sources if re.search(r"^\s*(from|import) prefect\b", path.read_text(), re.MULTILINE)]


# --- the lock ---------------------------------------------------------------------------------------------


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    return {name.lower().replace("_", "-"): pinned for name, _, pinned in (line.partition("==") for line in lines)}


def test_the_lock_names_versions_and_nothing_else():
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower().replace("_", "-"))


def test_the_lock_pins_everything_that_is_asked_for_within_its_bounds():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    for requirement in map(Requirement, asked):
        pinned = pins()[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(pinned), f"{requirement} is pinned to {pinned}"


def test_the_two_libraries_that_break_prefect_are_held_back():
    # With newer ones pip finds no conflict, but no flow starts, or no scheduled run is ever created.
    for name, bound in {"fastapi": "0.151", "sqlalchemy": "2.1"}.items():
        assert Version(pins()[name]) < Version(bound)
        assert Version(importlib.metadata.version(name)) < Version(bound)
