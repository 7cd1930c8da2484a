"""The report of a trial: reports/validation.json for programs, reports/validation.html for people.

Neither holds a clock, an id or a path: the same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.data.validate import words
from trunkline.data.validate.findings import Finding
from trunkline.data.validate.leaks import AREA, Hint
from trunkline.data.validate.outcome import Outcome, Wanted

MOST_SET_ASIDE = 100  # rows of the quarantine that the report shows; the file holds them all


def report(
    outcome: Outcome, drops: Sequence[Mapping[str, Any]], wanted: Wanted, shown: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return the report as plain values.

    Args:
        outcome: What the trial found.
        drops: Of each drop, its name, the columns it lacked and those that nothing needs.
        wanted: What the data had to be.
        shown: The first rows set aside, each with its drop, key and reason.
    """
    read, aside = sum(outcome.examined.values()), sum(len(reasons) for reasons in outcome.reasons.values())
    order = [*wanted.key, *wanted.columns, *wanted.targets]
    return {
        "version": 1,
        "passed": outcome.passed,
        "rows": {"read": read, "passed": read - aside, "set_aside": aside},
        "drops": [_drop(outcome, drop) for drop in drops],
        "rules": outcome.record.rules(order),
        "findings": [_finding(found) for found in outcome.findings],
        "quarantine": [dict(row) for row in shown],
        "leaks": [leak._asdict() for leak in outcome.hunt.leaks],
        "hints": [_hint(hint, wanted) for hint in sorted(outcome.hunt.hints, key=lambda hint: -hint.score)],
        "warnings": list(outcome.hunt.warnings),
    }


def _drop(outcome: Outcome, drop: Mapping[str, Any]) -> dict[str, Any]:
    name = str(drop["name"])
    read, aside = outcome.examined[name], len(outcome.reasons[name])
    broken = sum(name == found.where for found in outcome.findings)
    return {
        "name": name,
        "read": read,
        "passed": read - aside,
        "set_aside": aside,
        "missing": list(drop["missing"]),
        "extra": list(drop["extra"]),
        "findings": broken,
        "status": "failed" if broken else "passed",
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "where": found.where,
        "columns": list(found.columns),
        "expected": found.expected,
        "seen": found.problem or found.seen,
        "broken": found.broken,
        "rows": found.rows,
        "setting": found.setting,
        "checked": not found.problem,
        "examples": list(found.examples),
    }


def _hint(hint: Hint, wanted: Wanted) -> dict[str, Any]:
    leaks = wanted.validation.leaks
    limit = leaks.auc if hint.how == AREA else leaks.correlation
    return hint._asdict() | {"score": round(hint.score, 6), "limit": limit}


def page(content: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs no script and no other file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": words.count, "short": words.short}
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.render(content)
