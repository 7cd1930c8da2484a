"""Small charts of how a task fared while the shared model trained, and a map of what its gates take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from trunkline.evaluation.charts import COLOURS, DASHES, to_svg

WIDTH, HEIGHT = 150, 84  # of a plot, in CSS pixels
COLUMN, ROW, LETTER = 52, 20, 6.5
MOST_EXPERTS = 12
SHADE = 0.55

Spread = Sequence[float] | None


def band_chart(epochs: Sequence[float], curve: Sequence[Spread], marks: Sequence[tuple[int, float]] = ()) -> Markup:
    """Draw the mean of the seeds over the epochs in the band from the lowest to the highest of them.

    Args:
        epochs: Where each value stands; not whole numbers.
        curve: Mean, lowest and highest value there; None = unknown.
        marks: A second line with points, dashed: an epoch and a value each.
    """
    import altair

    shown = [(epoch, *spread) for epoch, spread in zip(epochs, curve, strict=True) if spread is not None]
    band = [dict(zip(("epoch", "value", "low", "high"), row, strict=True)) for row in shown]
    dots = [{"epoch": epoch, "value": value} for epoch, value in marks]
    ends = [end for row in band for end in (row["low"], row["high"])] + [dot["value"] for dot in dots]
    last = math.ceil(max(row["epoch"] for row in [*band, *dots]))
    x, (y, low) = _across(altair, last), (_up(altair, name, min(ends), max(ends)) for name in ("value", "low"))
    first, second = (altair.value(colour) for colour in COLOURS)
    base, other = (altair.Chart(altair.NamedData(name)) for name in ("band", "dots"))
    layers = [
        base.mark_area(opacity=0.2).encode(x=x, y=low, y2="high:Q", color=first),
        base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=first),
        other.mark_line(strokeWidth=1.6, strokeDash=DASHES[1]).encode(x=x, y=y, color=second),
        other.mark_point(filled=True, size=30, opacity=1, shape="square").encode(x=x, y=y, color=second),
    ][: 4 if dots else 2]
    return to_svg(altair.layer(*layers), {"band": band, "dots": dots}, HEIGHT, WIDTH)


def _across(altair: Any, last: int) -> Any:
    scale = altair.Scale(domain=[0, last], nice=False)
    return altair.X("epoch:Q", scale=scale, axis=altair.Axis(title="epoch", tickCount=3, grid=False))


def _up(altair: Any, name: str, low: float, high: float) -> Any:
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    scale = altair.Scale(domain=[low - room, high + room], nice=True)
    return altair.Y(f"{name}:Q", scale=scale, axis=altair.Axis(title=None, tickCount=3))


def gate_map(levels: Sequence[Mapping[str, Any]], label: str) -> Markup:
    """Draw what a task takes of each expert, experts downward, levels across.

    What a gate gives nearly everything to, in most seeds, has a frame.

    Args:
        levels: What training_record.py says of a task's gates.
        label: What the map shows, for whoever cannot see it.
    """
    experts = list(levels[0]["load"])[:MOST_EXPERTS]
    left, top = LETTER * max(map(len, experts)) + 8, 20
    width, height = left + COLUMN * len(levels) + 4, top + ROW * len(experts) + 4
    parts = [
        f'<svg width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-size="11" fill="currentColor">'
    ]
    for row, expert in enumerate(experts):
        parts.append(f'<text x="{left - 6:.1f}" y="{top + ROW * row + 14}" text-anchor="end">{escape(expert)}</text>')
    for column, gate in enumerate(levels):
        x = left + COLUMN * column
        parts.append(f'<text x="{x + COLUMN / 2:.1f}" y="14" text-anchor="middle">level {gate["level"]}</text>')
        parts += [_cell(gate, expert, x, top + ROW * row) for row, expert in enumerate(experts)]
    return Markup("".join([*parts, "</svg>"]))  # names and label are escaped above


def _cell(gate: Mapping[str, Any], expert: str, x: float, y: float) -> str:
    load = gate["load"][expert]
    framed = 2 * gate["collapsed"] > gate["seeds"] and expert == gate["busiest"]
    frame = 'stroke="var(--bad)" stroke-width="2"' if framed else 'stroke="currentColor" stroke-opacity=".2"'
    return (
        f'<rect x="{x + 1.5:.1f}" y="{y + 1.5:.1f}" width="{COLUMN - 3}" height="{ROW - 3}" fill="var(--shared)" '
        f'fill-opacity="{SHADE * load:.2f}" {frame}/>'
        f'<text x="{x + COLUMN / 2:.1f}" y="{y + 14:.1f}" text-anchor="middle">{load:.0%}</text>'
    )
