"""`python -m trunkline` and the `trunkline` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    words = [word for word in sys.argv[1:] if word != "--debug"]
    if len(words) < len(sys.argv) - 1:
        os.environ["TRUNKLINE_DEBUG"] = "1"
    code = _run(words)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(words: list[str]) -> int:
    # What dvc.yaml calls goes straight to the stage, before anything of the command line is imported.
    match words:
        case ["stage", name] if not name.startswith("-"):
            task = None
        case ["stage", name, "--task", task]:
            pass
        case _:
            from trunkline.cli.app import main as command_line

            return command_line(words)
    from pathlib import Path

    from trunkline.pipeline.stage import run_stage

    return run_stage(Path(), name, task)


if __name__ == "__main__":
    main()
