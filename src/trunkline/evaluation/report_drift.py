"""What the report shows of drift, out of drift.json: the most severe entries, and every task over the drops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.evaluation import wording
from trunkline.evaluation.drift_charts import MOST_DROPS, label_chart, score_chart

Json = Mapping[str, Any]

SHOWN = 12  # entries of the table; those that drifted are all shown
MEASURES = {
    "psi": "stability index", "jensen_shannon": "Jensen-Shannon distance", "l_infinity": "largest change of a share",
    "missing": "change of the share missing", "unseen": "share of new words",
}  # fmt: skip


def drift_view(drift: Json | None) -> dict[str, Any] | None:
    """Return the section's content, or None where there is no record of drift."""
    if not drift:
        return None
    drifted = [entry for entry in drift["found"] if entry["drifted"]]
    others = [entry for entry in drift["found"] if not entry["drifted"]]
    shown = others[: max(0, SHOWN - len(drifted))]
    return {
        "newest": drift["newest"],
        "training_rows": drift["training_rows"],
        "drifted": len(drifted),
        "entries": [_entry(entry) for entry in [*drifted, *shown]],
        "more": len(others) - len(shown),
        "tasks": _tasks(drift["by_drop"]),
        "drops": [drop["drop"] for drop in drift["by_drop"]],
        "most_drops": MOST_DROPS,
    }


def _entry(entry: Json) -> dict[str, Any]:
    measures = [
        {**each, "said": MEASURES.get(name, name)}
        for name, each in sorted(entry["measures"].items(), key=lambda item: -item[1]["value"] / item[1]["limit"])
    ]
    return {**entry, "worst": measures[0], "words": entry.get("unseen_words", [])}


def _tasks(drops: list[Json]) -> list[dict[str, Any]]:
    """Return each task's charts over the drops; nothing where there are too few to draw."""
    found = []
    for name in drops[-1]["tasks"] if drops else []:
        labels, score = label_chart(drops, name), score_chart(drops, name)
        scores = [drop["tasks"][name]["score"] for drop in drops if drop["tasks"][name]["score"]]
        if labels or score:
            said = f"{wording.score(scores[0]['value'])} to {wording.score(scores[-1]['value'])}" if scores else ""
            found.append(
                {
                    "name": name,
                    "labels": labels,
                    "score": score,
                    "said": said,
                    "metric": scores[0]["metric"] if scores else "",
                }
            )
    return found
