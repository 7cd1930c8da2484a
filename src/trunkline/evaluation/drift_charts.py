"""Charts of what moves from drop to drop: the labels beside what was predicted of them, and the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from trunkline.evaluation.charts import to_svg
from trunkline.evaluation.prediction_charts import PREDICTED, places_axis, time_chart, value_range

Json = Mapping[str, Any]
MOST_DROPS = 24  # that a chart shows, the newest


def label_chart(drops: Sequence[Json], task: str) -> Markup | None:
    """Draw a task's labels by drop, dashed with their interval, beside the mean of what was predicted of them."""
    held = [(place, drop["tasks"][task]) for place, drop in enumerate(drops[-MOST_DROPS:], start=_first(drops))]
    points = [
        {"start": str(place), "observed": of["labels"]["level"], "interval": of["labels"]["interval"],
         "predicted": of["predicted"]}
        for place, of in held
        if of["labels"]["labelled"]
    ]  # fmt: skip
    return time_chart(points) if len(points) > 1 else None


def score_chart(drops: Sequence[Json], task: str) -> Markup | None:
    """Draw a task's score by drop with its interval, on the rows that trained nothing."""
    import altair

    held = [(place, drop["tasks"][task]["score"]) for place, drop in enumerate(drops[-MOST_DROPS:], _first(drops))]
    known = [(place, score) for place, score in held if score and score["value"] is not None]
    if len(known) < 2:
        return None
    points = [
        {"at": at, "value": score["value"], "low": low, "high": high}
        for at, (_, score) in enumerate(known)
        for low, high in [score["interval"] or [score["value"]] * 2]
    ]
    scale = altair.Scale(domain=list(value_range([point[end] for point in points for end in ("low", "high")])))
    of_points = altair.Chart(altair.NamedData("points")).encode(x=places_axis([str(place) for place, _ in known]))
    y = altair.Y("value:Q", scale=scale, axis=altair.Axis(title=None, tickCount=4))
    layers = [
        of_points.mark_rule(color=PREDICTED, opacity=0.6).encode(y=altair.Y("low:Q", scale=scale), y2="high:Q"),
        of_points.mark_line(color=PREDICTED, strokeWidth=2).encode(y=y),
        of_points.mark_point(color=PREDICTED, filled=True, size=36, opacity=1).encode(y=y),
    ]
    return to_svg(altair.layer(*layers), {"points": points})


def _first(drops: Sequence[Json]) -> int:
    """Return the number of the first drop that is shown, from 1."""
    return max(0, len(drops) - MOST_DROPS) + 1
