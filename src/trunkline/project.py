"""The whole of params.yaml, composed of every room's declaration.

Read once, with ruamel (YAML 1.2, as DVC reads it), into frozen objects. A project knows which of its sections a
stage may read, so that what dvc.yaml lists under `params` cannot drift from what a stage uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from trunkline.balance import Balance, EqualWeights
from trunkline.columns import Column
from trunkline.data.declarations import Data, EqualByDefault, Rebalance, Split, Validation
from trunkline.data.rebalance import kinds_for, rule_of
from trunkline.declared import Declared, did_you_mean, explain
from trunkline.errors import EnvironmentFault, ParamsError
from trunkline.evaluation.declarations import Evaluation
from trunkline.evaluation.gates import gate_problems
from trunkline.export.declarations import Export
from trunkline.monitoring.declarations import DriftWatch
from trunkline.monitoring.followed import followed
from trunkline.nets.declarations import BEST_TRUNK, HardSharing, MLPTrunk, Sharing, Trunk
from trunkline.notify import Notify
from trunkline.registry.declarations import Promotion
from trunkline.tasks import Task
from trunkline.tasks.given import given_problems
from trunkline.tasks.roles import main_tasks, role_problems
from trunkline.training.declarations import Alone, Calibration, DeclaredTraining, Monitor
from trunkline.training.sampling import Sampling, Shuffle

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
    rebalance: Rebalance = Field(EqualByDefault(), description="How much each row of a task counts in its loss.")
    quality: Literal["standard", "high"] = Field(
        "standard",
        description="high: the trunk that predicted best in `make bench-quality`, several copies over numbers by their "
        "bins, whatever `trunk` says of kind and numbers; about four times the training.",
    )
    trunk: Trunk = Field(MLPTrunk(), description="The layers that all tasks share.")
    sharing: Sharing = Field(HardSharing(), description="How the tasks share the trunk.")
    balance: Balance = Field(EqualWeights(), description="How the tasks' losses become one step.")
    training: DeclaredTraining = Field(DeclaredTraining(), description="One recipe for every arm, shared and alone.")
    sampling: Sampling = Field(Shuffle(), description="Which rows a step sees, in shared and alone.")
    alone: Alone = Field(Alone(), description="The models trained for one task alone, which sharing is judged against.")
    monitor: Monitor = Field(Monitor(), description="What is watched while the shared model trains.")
    calibration: Calibration = Field(Calibration(), description="How confidences are corrected before export.")
    evaluation: Evaluation = Field(Evaluation(), description="How the verdict on sharing is reached.")
    drift: DriftWatch = Field(
        DriftWatch(), description="How far new rows may lie from the training rows, and the least score in service."
    )
    export: Export = Field(Export(), description="The file that leaves the pipeline.")
    promotion: Promotion = Field(Promotion(), description="When a new model takes over from the one in service.")
    notify: Notify = Field(Notify(), description="Who is told when a run of the flow fails. No stage reads it.")

    @model_validator(mode="before")
    @classmethod
    def _best_trunk(cls, content: Any) -> Any:
        """Let `quality: high` decide the trunk's kind and numbers; its measures stay as declared."""
        declared = content.get("trunk") or {} if isinstance(content, dict) else None
        if not isinstance(declared, dict) or content.get("quality") != "high":
            return content
        rest = {key: value for key, value in declared.items() if key not in ("kind", "numbers")}
        return {**content, "trunk": {**BEST_TRUNK, **rest}}

    @model_validator(mode="after")
    def _consistent(self) -> Project:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self

    @property
    def needed_columns(self) -> list[str]:
        """Every column of the data that this project reads, each once, in a stable order."""
        split = self.split
        of_split = split.columns if split.kind == "group" else [] if split.kind == "random" else [split.column]
        targets = [column for task in self.tasks.values() for column in task.label_columns]
        carried = [*self.data.keep, *self.data.sensitive]
        return list(dict.fromkeys([*self.data.key, *self.columns, *targets, *of_split, *carried]))


def _contradictions(project: Project) -> Iterator[str]:
    """Yield a sentence for each pair of declarations that cannot both hold; each part counts on those before it."""
    parts = (
        _of_names,
        _of_targets,
        _of_given,
        _of_roles,
        _of_taps,
        _of_validation,
        _of_sharing,
        _of_rebalance,
        _of_balance,
        _of_sampling,
        _of_fairness,
        _of_evaluation,
        _of_drift,
    )
    for part in parts:
        yield from part(project)


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
    labels = [
        (name, column, held) for name, task in project.tasks.items() for column, held in task.label_columns.items()
    ]
    for name, column, held in labels:
        if column in project.columns:
            yield (
                f"tasks.{name}.{held.setting}: column '{column}' is also an input, so the model would read the answer; "
                f"remove it from columns"
            )
        if column in learned_by:
            yield f"tasks '{learned_by[column]}' and '{name}' both learn column '{column}'; give each its own target"
        learned_by.setdefault(column, name)


def _of_given(project: Project) -> Iterator[str]:
    yield from given_problems(project.tasks)
    for place, penalty in enumerate(project.training.fairness):
        if penalty.task in project.tasks and project.tasks[penalty.task].given:
            yield (
                f"training.fairness.{place}.task: '{penalty.task}' is given another task, and a penalty sees its head "
                f"alone, not the joint probability; put it on a task that is given nothing"
            )


def _of_roles(project: Project) -> Iterator[str]:
    yield from role_problems(project.tasks)
    evaluation, main = project.evaluation, main_tasks(project.tasks)
    named: dict[str, Iterable[str]] = {
        "evaluation.margins": evaluation.margins,
        "evaluation.gates": evaluation.gates,
        "calibration.coverage": project.calibration.coverage,
        "training.fairness": [penalty.task for penalty in project.training.fairness],
    }
    for section, names in named.items():
        for name in names:
            if name in project.tasks and name not in main:
                yield f"{section}: '{name}' is auxiliary, which is not judged; take it out, or make it a main task"


def _of_taps(project: Project) -> Iterator[str]:
    layers = len(project.trunk.widths)
    for name, task in project.tasks.items():
        if task.tap_layer is None:
            continue
        if project.sharing.kind != "hard":
            yield (
                f"tasks.{name}.tap_layer: says nothing under sharing.kind: {project.sharing.kind}, where heads read "
                f"layers of their own; remove it, or use hard"
            )
        elif project.trunk.forms is not None:
            kind = project.trunk.kind
            yield f"tasks.{name}.tap_layer: cannot be read of trunk.kind: {kind}; remove it, or use mlp or residual"
        elif task.tap_layer > layers:
            yield f"tasks.{name}.tap_layer: found {task.tap_layer}, but the trunk has {layers} layers; see trunk.depth"
    if (highest := max(task.tap_layer or layers for task in project.tasks.values())) < layers:
        yield f"tasks: no head reads the trunk above layer {highest}; set trunk.depth: {highest}"


def _of_validation(project: Project) -> Iterator[str]:
    binary = [name for name, task in project.tasks.items() if task.kind == "binary"]
    for name, others in project.validation.implications.items():
        for word in [name, *others]:
            if word not in binary:
                hint = did_you_mean(word, binary) or f"; binary tasks are {', '.join(binary) or 'none'}"
                yield f"validation.implications: '{word}' is no binary task{hint}"
    targets = [column for task in project.tasks.values() for column in task.label_columns]
    for name in project.validation.may_lack:
        if name not in project.columns and name not in targets:
            known = [*project.columns, *targets]
            yield f"validation.may_lack: '{name}' is no input and no target{did_you_mean(name, known)}"
    for name in project.validation.leaks.allow:
        if name not in project.columns:
            yield f"validation.leaks.allow: '{name}' is no input column{did_you_mean(name, project.columns)}"


def _of_rebalance(project: Project) -> Iterator[str]:
    rebalance = project.rebalance
    for name in rebalance.tasks:
        if name not in project.tasks:
            hint = did_you_mean(name, project.tasks) or "; take it out, or declare the task"
            yield f"rebalance.tasks: '{name}' is no task{hint}"
    for name, task in project.tasks.items():
        rule = rule_of(rebalance, name)
        if task.given and rule.kind != "equal":
            where = f"rebalance.tasks.{name}.kind" if name in rebalance.tasks else "rebalance.kind"
            yield (
                f"{where}: {rule.kind} counts the labels of {name} on all rows, but with `given` its head learns on "
                f"some; set rebalance.tasks.{name}.kind: equal"
            )
        if problem := rule.problem(task):
            choice = kinds_for(task) if not rule.is_for(task.kind) else ""
            if name in rebalance.tasks:
                yield f"rebalance.tasks.{name}.kind: {rule.kind} {problem}{choice and f'; choose {choice}'}"
            else:
                way = f"for {name} choose {choice or 'another rule'} under rebalance.tasks"
                yield f"rebalance.kind: {rule.kind} {problem}; {way}"


def _of_sharing(project: Project) -> Iterator[str]:
    trunk, form = project.trunk, project.sharing.kind
    if trunk.forms is not None and form not in trunk.forms:
        known = " or ".join(trunk.forms)
        yield f"sharing.kind: {form} cannot be built over trunk.kind: {trunk.kind}; set {known} here, or another trunk"


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


def _of_sampling(project: Project) -> Iterator[str]:
    sampling = project.sampling
    for name in sampling.names():
        if name not in project.tasks:
            yield f"sampling.tasks: '{name}' is no task{did_you_mean(name, project.tasks)}"
    batch = project.training.batch
    if batch != "auto" and (problem := sampling.problem(batch)):
        yield f"sampling.{problem}"
    if sampling.kind != "shuffle" and project.training.fairness:
        yield (
            f"sampling.kind: {sampling.kind} draws rows more or less often, and training.fairness compares rates among "
            f"rows as they come; set sampling.kind: shuffle, or take out the penalties"
        )


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
        "promotion.max_regret": project.promotion.max_regret,
        "promotion.tasks": project.promotion.tasks,
    }
    for section, names in named.items():
        for name in names:
            if name not in project.tasks:
                hint = did_you_mean(name, project.tasks) or "; take it out, or declare the task"
                yield f"{section}: '{name}' is no task{hint}"
    for name in project.calibration.coverage:
        if name in project.tasks and not project.tasks[name].regions:
            kind = project.tasks[name].kind
            yield f"calibration.coverage.{name}: a {kind} task has neither interval nor set; take the task out"
    for name, gates in evaluation.gates.items():
        if name in project.tasks:
            yield from gate_problems(name, project.tasks[name], gates, project.data.sensitive)
    carried = project.needed_columns
    for column in evaluation.slices:
        if column not in carried:
            hint = did_you_mean(column, carried)
            yield f"evaluation.slices: '{column}' is no declared column{hint or '; list it in data.keep'}"


def _of_drift(project: Project) -> Iterator[str]:
    judged = followed(project.tasks)
    known = [*project.columns, *project.tasks, *judged]
    for name in project.drift.allow:
        if name not in known:
            yield f"drift.allow: '{name}' is neither an input nor a task{did_you_mean(name, known)}"
    for name in project.drift.floors:
        if name not in judged:
            known_task = name in project.tasks
            said = f"is no task that is followed in service, which are {', '.join(judged) or 'none'}; take it out"
            hint = did_you_mean(name, judged) or "; take it out, or declare the task"
            yield f"drift.floors: '{name}' {said if known_task else f'is no task{hint}'}"


def read_yaml(path: Path) -> Any:
    """Read YAML 1.2 as DVC does: `1e-3` is a number, a repeated key is an error, no tag runs code.

    Raises:
        ParamsError: Missing, unreadable, too large, not YAML; names line and column.
    """
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
    return parse_yaml(text, path.name)


def parse_yaml(text: str, where: str = PARAMS) -> Any:
    """Read YAML as `read_yaml` does, from its text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if text.count("*") > 1000:
        raise ParamsError(f"{where}: has over 1000 '*' signs, as a file that expands without end would")
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = " ".join(str(fault.problem or fault.context).split())
        raise ParamsError(f"{where}{place}: {problem}; correct this line") from fault
    except (YAMLError, ValueError, RecursionError) as fault:
        raise ParamsError(f"{where}: is not YAML ({' '.join(str(fault).split())[:200]})") from fault


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
