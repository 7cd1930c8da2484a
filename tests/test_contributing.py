"""CONTRIBUTING.md tells the truth: the method that it adds is one file and one line, and is found by all."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAWS = "dominant and (no_consequence or were_not_there or bytes_of_an_undisturbed or read_from_params)"


def block(language: str) -> str:
    """The first block in that language."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def applied(diff: str, text: str) -> str:
    """The text with the lines of a diff without line numbers put in place."""
    for before, after in itertools.pairwise(diff.splitlines()):
        if after.startswith("+"):
            assert text.count(before[1:]) == 1, f"not there: {before[1:]}"
            kept = [] if before.startswith("-") else [before[1:]]
            text = text.replace(before[1:], "\n".join([*kept, after[1:]]))
    return text


def test_the_method_of_the_example_is_held_to_the_laws_of_every_method(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    room = tmp_path / "src" / "trunkline" / "balance"
    (room / "dominant.py").write_text(block("python"))
    init = room / "__init__.py"
    init.write_text(applied(block("diff"), init.read_text()))
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"}

    def call(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "balance.kind: dominant\n\nFollow the longest gradient. Suits nobody." in call(
        "-m", "trunkline", "schema", "--markdown"
    )
    said = call("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_balance.py", "-k", LAWS)
    assert len(re.findall(r"^\.{4}", said, re.MULTILINE)) == 1, said
    call("-m", "ruff", "check", "--no-cache", "src/trunkline/balance")
    call("-m", "ruff", "format", "--no-cache", "--check", "src/trunkline/balance/dominant.py")
