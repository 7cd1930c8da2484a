"""The whole of params.yaml, composed of every room's declaration.

Read once, with ruamel (YAML 1.2, as DVC reads it), into frozen objects. A project knows which of its sections a
stage may read, so that what dvc.yaml lists under `params` cannot drift from what a stage uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from trunkline.balance import Balance, EqualWeights
from trunkline.columns import Column
from trunkline.data.declarations import Data, EqualDraws, Rebalance, Split, Validation
from trunkline.declared import Declared, did_you_mean, explain
from trunkline.errors import EnvironmentFault, ParamsError
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.gates import gate_problems
from trunkline.export.declarations import Export
from trunkline.nets.declarations import HardSharing, MLPTrunk, Sharing, Trunk
from trunkline.notify import Notify
from trunkline.tasks import Task
from trunkline.training.declarations import Alone, Calibration, Monitor, Training

PARAMS = "params.yaml"
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RESERVED_COLUMNS = ("drop", "side", "reason", "rejected")
LARGEST_PARAMS = 4_000_000  # bytes


class Project(Declared):
    """Everything that decides what a run does."""

    version: Literal[1] = Field(description="Format of this file.")
    seed: int = Field(0, ge=0, lt=2**31, description="The one source of chance: same seed, same bytes.")
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of training and export. More threads, other last bits."
    )
    data: Data = Field(description="Where rows come from and what identifies one.")
    columns: dict[str, Column] = Field(min_length=1, description="The inputs, by column name.")
    tasks: dict[str, Task] = Field(min_length=1, description="The targets to learn together, by task name.")
    validation: Validation = Field(
        Validation(), description="What the data must be before anything is learned from it."
    )
    split: Split = Field(description="Which rows train, which choose, which judge.")
    rebalance: Rebalance = Field(EqualDraws(), description="How often each row of a task is drawn.")
    trunk: Trunk = Field(MLPTrunk(), description="The layers that all tasks share.")
    sharing: Sharing = Field(HardSharing(), description="How the tasks share the trunk.")
    balance: Balance = Field(EqualWeights(), description="How the tasks' losses become one step.")
    training: Training = Field(Training(), description="One recipe for every arm, shared and alone.")
    alone: Alone = Field(Alone(), description="The models trained for one task alone, which sharing is judged against.")
    monitor: Monitor = Field(Monitor(), description="What is watched while the shared model trains.")
    calibration: Calibration = Field(Calibration(), description="How confidences are corrected before export.")
    evaluation: Evaluation = Field(Evaluation(), description="How the verdict on sharing is reached.")
    export: Export = Field(Export(), description="The file that leaves the pipeline.")
    notify: Notify = Field(Notify(), description="Who is told when a run of the flow fails. No stage reads it.")

    @model_validator(mode="after")
    def _consistent(self) -> Project:
        if problems := _contradictions(self):
            raise ValueError(problems[0])
        return self

    @property
    def needed_columns(self) -> list[str]:
        """Every column of the data that this project reads, each once, in a stable order."""
        split = self.split
        of_split = split.columns if split.kind == "group" else [] if split.kind == "random" else [split.column]
        targets = [task.target for task in self.tasks.values()]
        carried = [*self.data.keep, *self.data.sensitive]
        return list(dict.fromkeys([*self.data.key, *self.columns, *targets, *of_split, *carried]))


def _contradictions(project: Project) -> list[str]:
    """Return a sentence for each pair of declarations that cannot both hold."""
    parts = (_of_names, _of_targets, _of_validation, _of_balance, _of_fairness, _of_evaluation)
    return [problem for part in parts for problem in part(project)]


def _of_names(project: Project) -> Iterator[str]:
    for name in project.tasks:
        if not TASK_NAME.fullmatch(name):
            yield f"tasks.{name!r}: a task's name is a letter, then up to 63 letters, digits or _; rename it"
    for column in project.needed_columns:
        if column in RESERVED_COLUMNS:
            yield f"column '{column}': trunkline writes a column of that name itself; rename yours"
    outputs = {f"{name}.{part}" for name, task in project.tasks.items() for part in task.output_names}
    for column in sorted(outputs & set(project.columns)):
        yield f"column '{column}': the model's output has that name; rename the column or the task"


def _of_targets(project: Project) -> Iterator[str]:
    learned_by: dict[str, str] = {}
    for name, task in project.tasks.items():
        if task.target in project.columns:
            yield (
                f"tasks.{name}.target: column '{task.target}' is also an input, so the model would read the answer; "
                f"remove it from columns"
            )
        if task.target in learned_by:
            other = learned_by[task.target]
            yield f"tasks '{other}' and '{name}' both learn column '{task.target}'; give each its own target"
        learned_by.setdefault(task.target, name)


def _of_validation(project: Project) -> Iterator[str]:
    binary = [name for name, task in project.tasks.items() if task.kind == "binary"]
    for name, others in project.validation.implications.items():
        for word in [name, *others]:
            if word not in binary:
                hint = did_you_mean(word, binary) or f"; binary tasks are {', '.join(binary) or 'none'}"
                yield f"validation.implications: '{word}' is no binary task{hint}"
    for name in project.validation.leaks.allow:
        if name not in project.columns:
            yield f"validation.leaks.allow: '{name}' is no input column{did_you_mean(name, project.columns)}"


def _of_balance(project: Project) -> Iterator[str]:
    balance = project.balance
    for name in getattr(balance, "reference", {}):
        if name not in project.tasks:
            yield f"balance.reference: '{name}' is no task{did_you_mean(name, project.tasks)}"
    if balance.normalized and project.training.normalize == "off":
        yield f"balance.kind: {balance.kind} compares losses, so they need one scale; set training.normalize: constant"
    for name, task in project.tasks.items():
        if not balance.weighted and task.weight != 1:
            yield f"tasks.{name}.weight: says nothing under balance.kind: {balance.kind}; remove it or use another kind"


def _of_fairness(project: Project) -> Iterator[str]:
    binary = [name for name, task in project.tasks.items() if task.kind == "binary"]
    for place, penalty in enumerate(project.training.fairness):
        where = f"training.fairness.{place}"
        if penalty.task not in binary:
            hint = did_you_mean(penalty.task, binary) or f"; binary tasks are {', '.join(binary) or 'none'}"
            yield f"{where}.task: '{penalty.task}' is no binary task{hint}"
        if penalty.column not in project.data.sensitive:
            hint = did_you_mean(penalty.column, project.data.sensitive) or "; list it there"
            yield f"{where}.column: '{penalty.column}' does not stand in data.sensitive{hint}"


def _of_evaluation(project: Project) -> Iterator[str]:
    evaluation = project.evaluation
    named: dict[str, Collection[str]] = {
        "evaluation.margins": evaluation.margins,
        "evaluation.gates": evaluation.gates,
        "calibration.coverage": project.calibration.coverage,
    }
    for section, names in named.items():
        for name in names:
            if name not in project.tasks:
                hint = did_you_mean(name, project.tasks) or "; take it out, or declare the task"
                yield f"{section}: '{name}' is no task{hint}"
    for name, gates in evaluation.gates.items():
        if name in project.tasks:
            yield from gate_problems(name, project.tasks[name], gates, project.data.sensitive)
    carried = project.needed_columns
    for column in evaluation.slices:
        if column not in carried:
            hint = did_you_mean(column, carried)
            yield f"evaluation.slices: '{column}' is no declared column{hint or '; list it in data.keep'}"


def read_yaml(path: Path) -> Any:
    """Read YAML 1.2 as DVC does: `1e-3` is a number, a repeated key is an error, no tag runs code.

    Raises:
        ParamsError: Missing, unreadable, too large, not YAML; names line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        raw = path.read_bytes()
    except FileNotFoundError as fault:
        raise ParamsError(f"{path.name}: not found in {path.parent.resolve()}; go to the project's folder") from fault
    except OSError as fault:
        raise EnvironmentFault(f"{path}: cannot be read ({fault.strerror}); fix the permission") from fault
    if len(raw) > LARGEST_PARAMS:
        raise ParamsError(f"{path.name}: {len(raw)} bytes is more than the {LARGEST_PARAMS} a params file may have")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ParamsError(f"{path.name}: byte {fault.start} is not UTF-8; save the file as UTF-8") from fault
    if text.count("*") > 1000:
        raise ParamsError(f"{path.name}: has over 1000 '*' signs, as a file that expands without end would")
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as fault:
        mark = fault.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = " ".join(str(fault.problem or fault.context).split())
        raise ParamsError(f"{path.name}{where}: {problem}; correct this line") from fault
    except (YAMLError, ValueError, RecursionError) as fault:
        raise ParamsError(f"{path.name}: is not YAML ({' '.join(str(fault).split())[:200]})") from fault


def parse_project(content: object, where: str = PARAMS) -> Project:
    """Turn the content of params.yaml into a project.

    Raises:
        ParamsError: One line per fault, each with its key, what was found and what to do.
    """
    if not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise ParamsError(f"{where}: holds {held}; expected sections such as data, columns, tasks")
    try:
        return Project.model_validate(content)
    except ValidationError as error:
        raise explain(error, Project, where) from None


def load_project(root: Path = Path()) -> Project:
    """Read `root/params.yaml`.

    Raises:
        ParamsError: One line per fault.
    """
    return parse_project(read_yaml(root / PARAMS))
