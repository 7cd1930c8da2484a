"""The validate stage: data/raw in, data/validated and the two reports out, or a refusal and the reports alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from trunkline.data.rows import ROWS, schema_text, write_rows
from trunkline.data.validate.findings import example, refusal
from trunkline.data.validate.outcome import Outcome, Wanted
from trunkline.data.validate.raw import RawRows
from trunkline.data.validate.report import MOST_SET_ASIDE, page, report
from trunkline.data.validate.trial import try_rows
from trunkline.files import check_seal, seal, write_json, write_text

QUARANTINE = "quarantine.parquet"


def validate_rows(wanted: Wanted, raw: Path, validated: Path, reports: Path) -> None:
    """Judge `raw`; write the reports, then the rows that passed and those set aside to `validated`.

    Args:
        wanted: What params.yaml says of the data.
        raw: Folder of the ingested rows, sealed.
        validated: Folder to write; removed where the data is refused, so that nothing takes it for this run's.
        reports: Folder of validation.json and validation.html, written in any case.

    Raises:
        DataError: A rule does not hold, or an input gives a label away.
        ParamsError: An expectation of the user's own means nothing, or could not be checked.
    """
    drops: list[dict[str, Any]] = check_seal(raw)["drops"]
    with RawRows(raw / ROWS, [str(drop["name"]) for drop in drops]) as rows:
        outcome = try_rows(rows, drops, wanted)
        aside = _set_aside(rows, outcome)
        content = report(outcome, drops, wanted, _shown(aside, wanted.key))
        write_json(reports / "validation.json", content)
        write_text(reports / "validation.html", page(content))
        if not outcome.passed:
            shutil.rmtree(validated, ignore_errors=True)
            raise refusal(outcome.findings, outcome.hunt.leaks)
        _write(validated, rows, outcome, aside)


def _set_aside(rows: RawRows, outcome: Outcome) -> pa.Table:
    """Return the rows of the quarantine with their reasons."""
    parts = [rows.schema.empty_table().append_column("reason", pa.array([], pa.string()))]
    for name, reasons in outcome.reasons.items():
        if reasons:
            part = rows.drop(name).take(pa.array(list(reasons)))
            parts.append(part.append_column("reason", pa.array(list(reasons.values()), pa.string())))
    return pa.concat_tables(parts)


def _shown(aside: pa.Table, key: Sequence[str]) -> list[Mapping[str, str]]:
    first = aside.slice(0, MOST_SET_ASIDE).to_pylist()
    return [{"drop": row["drop"], "key": example(row, key, []), "reason": row["reason"]} for row in first]


def _write(folder: Path, rows: RawRows, outcome: Outcome, aside: pa.Table) -> None:
    with write_rows(folder / ROWS, rows.schema) as write:
        for name in rows.drops:
            write(rows.drop(name).filter(pa.array(outcome.kept(name))))
    with write_rows(folder / QUARANTINE, aside.schema) as write:
        write(aside)
    drops = [
        {"name": name, "rows": int(outcome.kept(name).sum()), "set_aside": len(outcome.reasons[name])}
        for name in rows.drops
    ]
    passed = sum(outcome.examined.values()) - len(aside)
    seal(folder, [ROWS, QUARANTINE], rows=passed, set_aside=len(aside), drops=drops, schema=schema_text(rows.schema))
