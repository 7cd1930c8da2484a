"""The command line: every command by its name, with an example."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from trunkline.cli.check import check
from trunkline.cli.compare import compare
from trunkline.cli.doctor import doctor
from trunkline.cli.drift import drift
from trunkline.cli.export import export
from trunkline.cli.gc import gc
from trunkline.cli.groups import groups
from trunkline.cli.init import init
from trunkline.cli.lineage import lineage
from trunkline.cli.outcomes import outcomes
from trunkline.cli.plan import plan
from trunkline.cli.predict import predict
from trunkline.cli.project_folder import find_project
from trunkline.cli.promote import promote, rollback
from trunkline.cli.recipes import recipes
from trunkline.cli.report import report
from trunkline.cli.run import run
from trunkline.cli.schedule import schedule
from trunkline.cli.schema import schema
from trunkline.cli.serve import serve
from trunkline.cli.stage import stage
from trunkline.cli.verify import verify
from trunkline.cli.versions import versions
from trunkline.errors import TrunklineError
from trunkline.pipeline.environment import be_quiet
from trunkline.pipeline.failure import BUG, DEBUG, machine_fault, report_bug
from trunkline.pipeline.family import leave_on_sigterm

app = typer.Typer(
    name="trunkline",
    help="One shared model for many related targets, with a verdict for each and one ONNX file out.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
EXAMPLES: dict[Callable[..., int], str] = {
    init: "trunkline init rows.csv --target churned --target visits:count --target grade:ordinal=poor,good,best",
    run: "trunkline run --set training.epochs=5",
    plan: "trunkline plan",
    check: "trunkline check --json",
    predict: "trunkline predict models/export/model.onnx rows.parquet predictions.parquet",
    serve: "trunkline serve models/export/model.onnx --port 8080",
    export: "trunkline export --triton repository --tasks arr15,arr60",
    drift: "trunkline drift models/export/model.onnx rows.parquet",
    outcomes: "trunkline outcomes kept/ labels.parquet",
    report: "trunkline report",
    compare: "trunkline compare HEAD~1",
    groups: "trunkline groups --confirm",
    recipes: "trunkline recipes recipes.yaml --at-once 4",
    versions: "trunkline versions",
    promote: 'trunkline promote 4 --force --because "the old one reads a column that is gone"',
    rollback: 'trunkline rollback --because "arrivals are off since noon"',
    lineage: "trunkline lineage models/export/model.onnx",
    verify: "trunkline verify",
    gc: "trunkline gc --keep 5 --dry-run",
    doctor: "trunkline doctor --cache",
    schedule: 'trunkline schedule --cron "0 3 1 * *" --timezone Europe/Berlin',
    schema: "trunkline schema > docs/params.schema.json",
    stage: "trunkline stage baseline --task arr15",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(command)


@app.callback(epilog="Example: trunkline run")
def everywhere(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Hold the options of every command; `main` has read --debug already, wherever it stood."""


def main(words: list[str]) -> int:
    """Run the command line.

    Args:
        words: What stands behind `trunkline`.

    Returns:
        The exit code.
    """
    be_quiet()
    leave_on_sigterm()
    try:
        return int(app(words or ["--help"], standalone_mode=False, prog_name="trunkline") or 0)
    except TyperException as fault:
        where = getattr(fault, "ctx", None)  # of which command, where one was understood
        said = fault.format_message()
        end = "" if said.endswith((".", "?")) else "."
        print(f"trunkline: {said}{end} See: {where.command_path if where else 'trunkline'} --help", file=sys.stderr)
        return fault.exit_code
    except Exception as error:
        return say_why(error)


def say_why(error: Exception) -> int:
    """Print an error as a person should see it, and return its exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    elif isinstance(error, TrunklineError):
        print(error, file=sys.stderr)
    elif fault := machine_fault(error):
        print(fault, file=sys.stderr)
    else:
        print(report_bug(_folder_for_reports(), error), file=sys.stderr)
    known = error if isinstance(error, TrunklineError) else machine_fault(error)
    return known.code if known else BUG


def _folder_for_reports() -> Path:
    try:
        return find_project()
    except TrunklineError:
        return Path(tempfile.gettempdir())
