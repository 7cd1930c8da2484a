"""The view of a run: live on the screen, or one JSON object at the end."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from trunkline.cli.promotion import decision_lines
from trunkline.cli.verdict import MODEL, REPORT, ending_lines, read_alarms, read_evaluation
from trunkline.pipeline import Outcome, Work
from trunkline.pipeline.failure import BUG

if TYPE_CHECKING:
    from trunkline.registry.promote import Decision


class Viewer(Protocol):
    """Who shows a run."""

    def on_stage(self, name: str, work: Work) -> None:
        """Do a stage's work and show it."""

    def say(self, text: str) -> None:
        """Show a line about the run as a whole."""

    def end(self, root: Path, fault: Exception | None, decision: Decision | None = None) -> None:
        """Show how the run ended. What the fault says is shown by whoever ends the program."""


ONE_STAGE = "next    trunkline run      the stages behind it; verdicts and model are those of the last whole run"


def _judged(stages: Iterable[str]) -> bool:
    """Return whether more was looked at than one stage that neither verdicts nor the model come from."""
    words = {name.partition("@")[0] for name in stages}
    return len(words) > 1 or not words.isdisjoint({"evaluate", "export"})


class Screen:
    """A line per stage when it is done, what it prints indented while it runs; plain text outside a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._seen: list[str] = []
        self._terminal = None
        if file.isatty():
            from rich.console import Console

            self._terminal = Console(file=file, highlight=False)

    def on_stage(self, name: str, work: Work) -> None:
        """Do a stage's work and show it."""
        with self._waiting(name):
            outcome = work(self._line)
        self._done(outcome)

    def _waiting(self, name: str) -> AbstractContextManager[object]:
        return self._terminal.status(name) if self._terminal else contextlib.nullcontext()

    def _line(self, text: str) -> None:
        self.say(f"    {text}", "dim")

    def _done(self, outcome: Outcome) -> None:
        self._seen.append(outcome.name)
        style = {"ran": "green", "cached": "dim", "failed": "bold red"}[outcome.state]
        self.say(f"{outcome.name:<24} {outcome.state:<7} {outcome.seconds:7.1f} s", style)

    def say(self, text: str, style: str = "") -> None:
        """Print a line. A reader that has gone away, as `head` does, is no reason to stop the run."""
        with contextlib.suppress(OSError):
            if self._terminal:
                self._terminal.print(text, style=style, markup=False, soft_wrap=True)
            else:
                print(text, file=self._file, flush=True)

    def end(self, root: Path, fault: Exception | None, decision: Decision | None = None) -> None:
        """Print the verdicts, where to go on, and what was decided on the model."""
        if not fault:
            for line in ending_lines(root) if _judged(self._seen) else [ONE_STAGE]:
                self.say(line)
        for line in decision_lines(decision) if decision else []:
            self.say(line)


class Silent:
    """Nothing until the end, then one JSON object on stdout."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def on_stage(self, name: str, work: Work) -> None:
        """Do a stage's work and remember what became of it."""
        self._outcomes.append(work(lambda line: None))

    def say(self, text: str) -> None:
        """Say nothing."""

    def end(self, root: Path, fault: Exception | None, decision: Decision | None = None) -> None:
        """Print the object."""
        judged = not fault and _judged(each.name for each in self._outcomes)
        result = {
            "stages": [
                {"name": each.name, "state": each.state, "seconds": round(each.seconds, 3)} for each in self._outcomes
            ],
            "error": {"code": getattr(fault, "code", BUG), "message": str(fault)} if fault else None,
            "evaluation": read_evaluation(root) if judged else None,
            "alarms": [] if fault else read_alarms(root),
            "report": str(REPORT),
            "model": str(MODEL),
        }
        if decision:
            result["promotion"] = decision.as_json()
        print(json.dumps(result), flush=True)


@contextlib.contextmanager
def real_stdout() -> Iterator[TextIO]:
    """Give a copy of stdout that still reaches the reader while a stage's output is caught."""
    sys.stdout.flush()
    with contextlib.suppress(OSError), os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as file:
        yield file
