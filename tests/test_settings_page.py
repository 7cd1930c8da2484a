"""docs/settings.md: every setting in a table, and the page is that of the declarations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trunkline.cli.app import main
from trunkline.cli.settings_page import _of_type, settings_page
from trunkline.project import Project

ROOT = Path(__file__).parents[1]


def rows(section: str) -> dict[str, list[str]]:
    """The table behind a heading: key -> cells."""
    page = settings_page().split(f"# {section}\n", 1)[1].split("\n#", 1)[0]
    lines = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def test_the_page_of_settings_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    written = (ROOT / "docs" / "settings.md").read_text()
    assert written == capsys.readouterr().out, "run `trunkline schema --markdown > docs/settings.md`"


def test_every_setting_and_every_kind_stands_on_the_page() -> None:
    page = settings_page()
    schema = Project.model_json_schema()
    for name, part in {"Project": schema, **schema["$defs"]}.items():
        for setting, described in part.get("properties", {}).items():
            known = re.search(rf"(`(\S+\.)?{setting}`|^#+ {setting})", page, re.MULTILINE)
            kind = described.get("const") if setting == "kind" else None
            assert re.search(rf"kind: {kind}\b", page) if kind else known, f"{name}.{setting}"


def test_a_line_says_type_limits_default_and_meaning() -> None:
    assert rows("training")["warmup"] == [
        "number >= 0, < 1", "`0.05`", "Share of all steps in which the step size rises to its peak.",
    ]  # fmt: skip
    assert rows("training")["early_stop.patience"][:2] == ["whole number >= 1", "`3`"]
    assert rows("training")["fairness[].kind"][:2] == ["`demographic_parity` or `equal_opportunity`", "required"]
    assert rows("evaluation")["gates.NAME.max_regret"][:2] == ["number >= 0 or null", "`null`"]
    assert rows("sharing.kind: mmoe")["experts"][0].startswith("whole number")
    assert r"\<task>" in rows("tasks.NAME.kind: binary")["threshold"][2]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [(dict[str, list[int]], "by name: list of whole number"), (int | None, "whole number or null"), (Any, "anything")],
)
def test_types_are_said_in_words(annotation: Any, said: str) -> None:
    assert _of_type(annotation) == said
