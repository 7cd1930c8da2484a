"""`trunkline check`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from trunkline.cli.project_folder import find_project
from trunkline.errors import ParamsError, TrunklineError

if TYPE_CHECKING:
    from trunkline.project import Project

INCOMING = Path("data/incoming")


class Finding(NamedTuple):
    """What is wrong, or a remark where `code` is 0."""

    code: int
    message: str


def check(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Hold params.yaml against itself and the columns of data/incoming/, in seconds. Reads no rows."""
    findings = find_faults(find_project())
    faults = [each for each in findings if each.code]
    if as_json:
        print(json.dumps({"ok": not faults, "findings": [each._asdict() for each in findings]}))
    else:
        print(*[each.message for each in findings], sep="\n")
    return faults[0].code if faults else 0


def find_faults(root: Path) -> list[Finding]:
    """Return every fault that shows without reading a row; a remark where there is none."""
    from trunkline.pipeline.sections import DVC_YAML, refuse_missing_sections
    from trunkline.project import load_project

    try:
        project = load_project(root)
        if (root / DVC_YAML).exists():
            refuse_missing_sections(root)
    except TrunklineError as fault:
        return [Finding(fault.code, str(fault))]
    sizes = f"params.yaml: {len(project.columns)} columns, {len(project.tasks)} tasks: no fault found"
    return _data_faults(root, project) or [Finding(0, sizes), *_data_remarks(root, project)]


def _drops(root: Path) -> list[Path]:
    from trunkline.data.ingest import find_drops

    return find_drops(root / INCOMING)


def _is_made_by_ingest(root: Path, project: Project) -> bool:
    """Whether the data does not lie there yet, because `ingest` makes it."""
    if project.data.source.kind == "files":
        return False
    try:
        return not _drops(root)
    except TrunklineError:
        return True


def _data_faults(root: Path, project: Project) -> list[Finding]:
    from trunkline.data.ingest import common_schema, needs
    from trunkline.data.reader import read_schema

    try:
        needed = needs(project.data, project.columns, project.tasks, project.split)
        if _is_made_by_ingest(root, project):
            return []
        drops = _drops(root)
    except TrunklineError as fault:
        return [Finding(fault.code, str(fault))]
    faults, whole = [], []
    for path in drops:
        try:
            read_schema(path)
            whole.append(path)
        except TrunklineError as fault:
            faults.append(Finding(fault.code, str(fault)))
    try:
        if whole:
            common_schema(whole, needed)
    except TrunklineError as fault:
        faults.append(Finding(fault.code, str(fault)))
    return sorted(faults, key=lambda fault: fault.code != ParamsError.code)


def _data_remarks(root: Path, project: Project) -> list[Finding]:
    from trunkline.data.reader import read_schema

    if _is_made_by_ingest(root, project):
        kind = project.data.source.kind
        return [Finding(0, f"{INCOMING}/: is empty and filled by ingest ({kind}), so only params.yaml was checked")]
    drops = _drops(root)
    held = {path.name: read_schema(path).names for path in drops}
    lacking = {drop: [name for name in project.needed_columns if name not in names] for drop, names in held.items()}
    may_lack = project.validation.may_lack
    return [
        Finding(0, f"{INCOMING}/: {_holding(len(drops))} every column that is needed"),
        *(
            Finding(0, f"{drop}: lacks {', '.join(names)}; its rows count as missing there{_refused(names, may_lack)}")
            for drop, names in lacking.items()
            if names
        ),
        *(Finding(0, said) for said in _windows(root, project)),
        *(Finding(0, advice) for advice in _sampling_advice(drops, project)),
    ]


def _holding(drops: int) -> str:
    return "1 file holds" if drops == 1 else f"{drops} files together hold"


def _windows(root: Path, project: Project) -> Iterator[str]:
    """Yield where the sides began in the last run, where the newest row decides that."""
    from trunkline.files import MANIFEST, read_json
    from trunkline.stages import SPLIT

    split = project.split
    if split.kind != "time" or not split.moves:
        return
    found = read_json(root / SPLIT / MANIFEST).get("windows") if (root / SPLIT / MANIFEST).exists() else None
    starts = [f"{side} {start}" for side, start in found.items() if start] if found else []
    last = f"in the last run they began at: {', '.join(starts)}" if starts else "no run has told yet where they begin"
    yield f"split: the sides follow the newest row; {last}"


def _refused(names: list[str], may_lack: list[str]) -> str:
    """Return what validate will say of the columns that a drop lacks."""
    refused = [name for name in names if name not in may_lack]
    return f", which validate refuses unless validation.may_lack names {', '.join(refused)}" if refused else ""


def _sampling_advice(drops: list[Path], project: Project) -> list[str]:
    from trunkline.data.coverage import Targets, count_labels
    from trunkline.training.sampling.advice import advise

    targets = {name: Targets(list(task.label_columns), task.any_column) for name, task in project.tasks.items()}
    counted = count_labels(drops, targets)
    if not counted:
        return []
    rows = sum(drop.rows for drop in counted)
    return advise(project.sampling, counted, project.training.sized(rows, project.sampling.least_batch).batch)
