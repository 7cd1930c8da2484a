"""What reports/analysis.json says of every task by itself, for the second half of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.evaluation import calibration
from trunkline.evaluation.evidence import Evidence, TestRows
from trunkline.evaluation.regret import checkpoint_regret
from trunkline.evaluation.report_rebalance import rebalanced_said
from trunkline.evaluation.slices import slice_scores


def analyse(
    evidence: Sequence[Evidence],
    rows: TestRows,
    slices: Sequence[str],
    history: str,
    kept: Sequence[int],
    coverage: Mapping[str, Mapping[str, Any]],
    seed: int,
    rebalanced: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return `tasks` of reports/analysis.json.

    Args:
        evidence: Every task on the test rows.
        rows: What else is known of them; `columns` holds at least those of `slices`.
        slices: Columns by whose values every task is scored.
        history: Text of the shared arm's history.tsv.
        kept: Epoch that the shared arm kept, from 1, per seed.
        coverage: What `calibration.measure_coverage` found, by task; without those that ask for none.
        seed: The project's seed.
        rebalanced: What run.json says of the tasks whose rows did not all count the same.
    """
    said = {name: rebalanced_said(held) for name, held in (rebalanced or {}).items()}
    return {
        each.name: {
            **({"labels": label_counts(each), **calibration.analyse(each, rows)} if each.known.any() else {}),
            "slices": {column: slice_scores(each, rows.columns[column], rows.units, seed) for column in slices},
            "checkpoint_regret": checkpoint_regret(history, each.name, kept),
            **({"coverage": coverage[each.name]} if each.name in coverage else {}),
            **({"rebalanced": said[each.name]} if each.name in said else {}),
        }
        for each in evidence
    }


def label_counts(evidence: Evidence) -> dict[str, Any]:
    """Return how the labels of the test rows are spread.

    Returns:
        "counts": rows by class, or of a number "quantiles": its least, 5 %, median, 95 % and largest, in its own unit.
    """
    return evidence.task.label_counts(evidence.state, evidence.labels[evidence.known])
