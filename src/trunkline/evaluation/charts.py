"""Charts of the report as inline SVG: no script, no font, no id, and no word of the user's inside.

Lines are told apart by colour, by dashes and by the shape of their last point. Colours are names of the page's own
(`var(--shared)`, `currentColor`), so that one drawing reads on light, on dark and on paper. Every margin is fixed:
the fonts of a machine must not move a line, because the same numbers give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from trunkline.evaluation.curves import Point, mean_curve

SIDES = ("shared", "alone")
COLOURS = ["var(--shared)", "var(--alone)"]
DASHES = [[1, 0], [5, 3]]
SHAPES = ["circle", "square"]
WIDTH, HEIGHT = 270, 130  # of the plot, in CSS pixels
MARGINS = {"left": 46, "right": 10, "top": 8, "bottom": 34}
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # epochs from tick to tick
MOST_TICKS = 6

Row = dict[str, Any]


def line_chart(curves: Mapping[str, Sequence[Point]]) -> Markup:
    """Draw value by epoch: the mean of the seeds, and where there are several, each of them as a thin line.

    Args:
        curves: Points of "shared", of "alone", or of both; at least one in all.

    Returns:
        An `<svg>` element without a name; the page says what it shows.
    """
    import altair

    rows = _rows(curves)
    several = any(row["seed"] for row in rows["seeds"])
    layers = [_lines(altair, "seeds", strokeWidth=0.8, opacity=0.4)] if several else []
    layers += [_lines(altair, "means", strokeWidth=2), _marks(altair, "ends")]
    axes = _axes(altair, rows["seeds"])
    return to_svg(altair.layer(*[layer.encode(**axes) for layer in layers]), rows)


def to_svg(chart: Any, rows: Mapping[str, list[Row]], height: int = HEIGHT, width: int = WIDTH) -> Markup:
    """Draw an altair chart as all charts of the page are drawn.

    Args:
        chart: What to draw; its data have names.
        rows: The rows of each name.
        height: Of the plot, in CSS pixels.
        width: Of the plot, in CSS pixels.
    """
    import vl_convert

    sized = chart.properties(
        width=width, height=height, padding=MARGINS, autosize="none", background="transparent", config=_style()
    )
    # The rows join the finished chart: altair takes seconds to check them against its schema.
    return _inline(vl_convert.vegalite_to_svg(sized.to_dict() | {"datasets": dict(rows)}))


def by_side(altair: Any, channel: str, scale: Sequence[Any]) -> Any:
    """Return an encoding that tells shared from alone: by "Color", "StrokeDash" or "Shape"."""
    return getattr(altair, channel)("side:N", scale=altair.Scale(domain=SIDES, range=scale), legend=None)


def _rows(curves: Mapping[str, Sequence[Point]]) -> dict[str, list[Row]]:
    means = {side: mean for side, points in curves.items() if (mean := mean_curve(points))}
    return {
        "seeds": [{"side": side, **point._asdict()} for side, points in curves.items() for point in points],
        "means": [_row(side, at) for side, points in means.items() for at in points],
        "ends": [_row(side, points[-1]) for side, points in means.items()],
    }


def _row(side: str, at: tuple[int, float]) -> Row:
    return {"side": side, "seed": 0, "epoch": at[0], "value": at[1]}


def _lines(altair: Any, rows: str, **look: float) -> Any:
    dash = by_side(altair, "StrokeDash", DASHES)
    return altair.Chart(altair.NamedData(rows)).mark_line(**look).encode(strokeDash=dash, detail="seed:N")


def _marks(altair: Any, rows: str) -> Any:
    shape = by_side(altair, "Shape", SHAPES)
    return altair.Chart(altair.NamedData(rows)).mark_point(filled=True, size=45, opacity=1).encode(shape=shape)


def _axes(altair: Any, rows: list[Row]) -> dict[str, Any]:
    last = max(row["epoch"] for row in rows)
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    epochs = altair.Scale(domain=[1, last] if last > 1 else [0.5, 1.5], nice=False)
    values = altair.Scale(domain=[low - room, high + room], nice=True)
    ticks = altair.Axis(title="epoch", values=_ticks(last), format="d", grid=False)
    return {
        "x": altair.X("epoch:Q", scale=epochs, axis=ticks),
        "y": altair.Y("value:Q", scale=values, axis=altair.Axis(title=None, tickCount=4)),
        "color": by_side(altair, "Color", COLOURS),
    }


def _ticks(last: int) -> list[int]:
    step = next((step for step in STEPS if last <= MOST_TICKS * step), last)
    return list(range(step, last + 1, step))


def _style() -> dict[str, Any]:
    ink = "currentColor"
    axis = {
        "labelColor": ink, "titleColor": ink, "tickColor": ink, "domainColor": ink, "gridColor": ink,
        "gridOpacity": 0.15, "tickOpacity": 0.5, "domainOpacity": 0.5, "labelFontSize": 11, "titleFontSize": 11,
        "titleFontWeight": "normal", "labelOverlap": False, "labelLimit": 0, "titleLimit": 0,
    }  # fmt: skip
    return {"axis": axis, "view": {"stroke": None}}


def _inline(svg: str) -> Markup:
    """Leave out what only a file of its own needs, paths that draw nothing, and digits below a hundredth of a pixel."""
    svg = re.sub(r' (?:xmlns(?::\w+)?|version|class|font-family|pointer-events|aria-\w+|role)="[^"]*"', "", svg)
    svg = re.sub(r'<path d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>', "", svg)
    return Markup(re.sub(r'="[^"]*\.\d{3}[^"]*"', lambda found: _rounded(found[0]), svg))


def _rounded(attribute: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", attribute)
