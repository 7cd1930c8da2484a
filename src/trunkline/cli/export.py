"""`trunkline export`"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from trunkline.errors import ParamsError


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="model.onnx with its card.json beside it.")] = Path(
        "models/export/model.onnx"
    ),
    tasks: Annotated[str | None, typer.Option(help="Only these tasks, such as arr15,arr60.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for the model of --tasks.")] = None,
    triton: Annotated[Path | None, typer.Option(help="Add the model to this Triton repository.")] = None,
) -> int:
    """Write other forms of an exported model: of some tasks, for NVIDIA Triton."""
    if (tasks is None) != (to is None) and triton is None:
        raise ParamsError("--tasks and --to belong together: which tasks, and the folder for their model")
    if to is None and triton is None:
        raise ParamsError("say which form: --triton DIR, or --tasks a,b --to DIR")
    with tempfile.TemporaryDirectory() as scratch:
        if tasks is not None:
            model = _part(model, tasks, to or Path(scratch))
            if to is not None:
                print(model)
        if triton is not None:
            from trunkline.forms.triton import write_triton

            print(write_triton(model, triton))
    return 0


def _part(model: Path, tasks: str, target: Path) -> Path:
    from trunkline.forms.part import write_part

    return write_part(model, [word.strip() for word in tasks.split(",")], target)
