"""Charts of one task's predictions: against what was seen, how they are spread, and how they hold over time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from trunkline.evaluation.calibration import Point
from trunkline.evaluation.charts import DASHES, Row, to_svg

MOST_LABELS = 4  # words along the axis of time
ROOM = 0.05  # of the range, about it
INK, PREDICTED = "currentColor", "var(--shared)"
FEWEST_ROWS = 30  # behind a point of a calibration chart, unless none has as many
SMALLEST, LARGEST = 14.0, 110.0  # area of a point, in CSS pixels: by its rows


def calibration_chart(points: Sequence[Point]) -> Markup:
    """Draw what was seen against what was predicted, points as large as their rows; on the diagonal both agree."""
    import altair

    points = [point for point in points if point["rows"] >= FEWEST_ROWS] or points
    most = max(point["rows"] for point in points)
    low, high = value_range([point[side] for point in points for side in ("predicted", "observed")])
    held = [
        {**_ends(point, low, high), "size": SMALLEST + (LARGEST - SMALLEST) * point["rows"] / most} for point in points
    ]
    scale = altair.Scale(domain=[low, high], nice=False)
    x = altair.X("predicted:Q", scale=scale, axis=altair.Axis(title="predicted", tickCount=4, grid=False))
    y = altair.Y("observed:Q", scale=scale, axis=altair.Axis(title=None, tickCount=4))
    diagonal = altair.Chart(altair.NamedData("diagonal")).mark_line(strokeWidth=1, strokeOpacity=0.5, color=INK)
    of_points = altair.Chart(altair.NamedData("points")).encode(x=x)
    size = altair.Size("size:Q", scale=None, legend=None)
    layers = [
        diagonal.encode(x=altair.X("at:Q", scale=scale), y=altair.Y("at:Q", scale=scale)),
        of_points.mark_rule(color=PREDICTED, opacity=0.6).encode(y=altair.Y("low:Q", scale=scale), y2="high:Q"),
        of_points.mark_line(color=PREDICTED, strokeWidth=1, opacity=0.6).encode(y=y),
        of_points.mark_point(color=PREDICTED, filled=True, opacity=1).encode(y=y, size=size),
    ]
    return to_svg(altair.layer(*layers), {"points": held, "diagonal": [{"at": low}, {"at": high}]})


def histogram_chart(edges: Sequence[float], filled: Sequence[int], outline: Sequence[int] | None) -> Markup:
    """Draw how numbers are spread, each series as shares of its own rows.

    Args:
        edges: Ends of the bins, ascending; one more than bins.
        filled: Rows in each bin, drawn as bars.
        outline: Rows in each bin of a second series, drawn as dashes; None where there is one series only.
    """
    import altair

    rows = {"filled": _bars(edges, filled), "outline": _bars(edges, outline) if outline else []}
    top = max(bar["share"] for held in rows.values() for bar in held) or 1.0
    x = altair.Scale(domain=[edges[0], edges[-1]], nice=False)
    shares = altair.Axis(title=None, tickCount=4, format="%")
    where = {
        "x": altair.X("low:Q", scale=x, axis=altair.Axis(title="predicted", tickCount=4, grid=False)),
        "x2": "high:Q",
        "y": altair.Y("share:Q", scale=altair.Scale(domain=[0, top * (1 + ROOM)], nice=False), axis=shares),
    }
    bars = altair.Chart(altair.NamedData("filled")).mark_rect(color=PREDICTED, opacity=0.5)
    tops = altair.Chart(altair.NamedData("outline")).mark_rule(color=INK, strokeWidth=1.5, strokeDash=DASHES[1])
    return to_svg(altair.layer(bars.encode(**where, y2=altair.datum(0)), tops.encode(**where)), rows)


def _bars(edges: Sequence[float], counts: Sequence[int]) -> list[Row]:
    rows = sum(counts) or 1
    ends = itertools.pairwise(edges)
    return [{"low": low, "high": high, "share": held / rows} for (low, high), held in zip(ends, counts, strict=True)]


def time_chart(points: Sequence[Point]) -> Markup:
    """Draw what was seen in each period, dashed with its interval, beside what was predicted for it."""
    import altair

    held: list[Row] = [{**_ends(point), "at": place} for place, point in enumerate(points)]
    ends = [row[side] for row in held for side in ("predicted", "observed", "low", "high")]
    scale = altair.Scale(domain=list(value_range(ends)), nice=True)
    x = places_axis([point["start"][:10] for point in points])
    of_points = altair.Chart(altair.NamedData("points")).encode(x=x)
    values = altair.Axis(title=None, tickCount=4)
    observed, predicted = (altair.Y(f"{side}:Q", scale=scale, axis=values) for side in ("observed", "predicted"))
    layers = [
        of_points.mark_rule(color=INK, opacity=0.5).encode(y=altair.Y("low:Q", scale=scale), y2="high:Q"),
        of_points.mark_line(color=INK, strokeWidth=1.5, strokeDash=DASHES[1]).encode(y=observed),
        of_points.mark_point(color=INK, filled=True, size=30, shape="square", opacity=1).encode(y=observed),
        of_points.mark_line(color=PREDICTED, strokeWidth=2).encode(y=predicted),
        of_points.mark_point(color=PREDICTED, filled=True, size=36, opacity=1).encode(y=predicted),
    ]
    return to_svg(altair.layer(*layers), {"points": held})


def places_axis(names: Sequence[str]) -> Any:
    """Return the axis for points at 0, 1, 2..., a few of them with their names below."""
    import altair

    places = list(range(0, len(names), -(-len(names) // MOST_LABELS)))
    named = " : ".join(f"datum.value == {place} ? '{names[place]}'" for place in places)
    ticks = altair.Axis(title=None, values=places, labelExpr=f"{named} : ''", grid=False)
    return altair.X("at:Q", scale=altair.Scale(domain=[-0.4, len(names) - 0.6], nice=False), axis=ticks)


def _ends(point: Point, least: float = -math.inf, most: float = math.inf) -> dict[str, Any]:
    """Return a point with the ends of its interval, cut to the scale; without one both lie on what was seen."""
    low, high = point["interval"] or [point["observed"]] * 2
    ends = {"low": max(low, least), "high": min(high, most)}  # a clip path in the drawing would need an id
    return {"predicted": point["predicted"], "observed": point["observed"], **ends}


def value_range(ends: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds some values with room about them."""
    low, high = min(ends), max(ends)
    room = ROOM * (high - low) or ROOM * abs(high) or ROOM
    return (0.0 if 0 <= low < room else low - room), high + room
