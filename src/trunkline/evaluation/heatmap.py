"""A map of how pairs of tasks agree, as inline SVG: no script, no font, no id.

Up to `MOST_VALUES` tasks each cell holds its value, signed, on a shade of its colour. Of more tasks a cell holds a
square, filled for values above 0 and hollow below, whose area says how large the value is; its tooltip has the number.
So nothing rests on colour, and the colours are names of the page's own (`var(--shared)`, `var(--alone)`), which read
on light, on dark and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from trunkline.evaluation.wording import known

MOST_VALUES = 12
MOST_LETTERS = 24  # of a name beside the map; the tooltip has it whole
LETTER = 6.5  # width of a letter, in CSS pixels: wide enough for every font, because the page's is not known here
SLANT = math.radians(50)
SHADE = 0.5  # of the strongest cell, so that the value on it stays readable

Value = float | None


def heatmap(matrix: Sequence[Sequence[Value]], names: Sequence[str], low: float, high: float, label: str) -> Markup:
    """Draw a square matrix, rows downward.

    Args:
        matrix: Values [tasks, tasks]; None or NaN = unknown, drawn as a dash.
        names: Of the tasks.
        low: Below 0; values there and beyond have the full colour for disagreement.
        high: Above 0; likewise for agreement.
        label: What the map shows, for whoever cannot see it.

    Returns:
        An `<svg>` element as wide as the names and cells need.
    """
    values = len(names) <= MOST_VALUES
    wide, tall = (46, 28) if values else (16, 16)
    room = LETTER * min(MOST_LETTERS, max(map(len, names))) + 8
    left, top, right = room, room * math.sin(SLANT) + 10, max(8.0, room * math.cos(SLANT) - wide / 2)
    width, height = left + wide * len(names) + right, top + tall * len(names) + 4
    draw = _valued if values else _sized
    parts = [
        f'<svg width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-size="11" fill="currentColor">'
    ]
    for row, name in enumerate(names):
        y = top + tall * (row + 0.5)
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{_named(name)}</text>')
        x, foot = left + wide * (row + 0.5), top - 6
        turned = f"translate({x:.1f},{foot:.1f}) rotate({-math.degrees(SLANT):.0f})"
        parts.append(f'<text transform="{turned}">{_named(name)}</text>')
    for row, of_row in enumerate(matrix):
        for column, value in enumerate(of_row):
            hint = f"{names[row]}, {names[column]}: {_number(value, high)}"
            cell = draw(value, low, high, wide, tall)
            place = f"translate({left + wide * column:.1f},{top + tall * row:.1f})"
            parts.append(f'<g transform="{place}"><title>{escape(hint)}</title>{cell}</g>')
    return Markup("".join([*parts, "</svg>"]))  # names and label are escaped above


def _named(name: str) -> Markup:
    if len(name) <= MOST_LETTERS:
        return escape(name)
    return Markup("<title>{}</title>{}…").format(name, name[: MOST_LETTERS - 1])


def _number(value: Value, high: float) -> str:
    if not known(value):
        return "–"
    decimals = max(0, 2 - math.ceil(math.log10(high)))
    text = f"{value:+.{decimals}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _strength(value: float, low: float, high: float) -> float:
    return min(1.0, value / (high if value > 0 else low))


def _colour(value: float) -> str:
    return "var(--shared)" if value > 0 else "var(--alone)"


def _valued(value: Value, low: float, high: float, wide: float, tall: float) -> str:
    shade = SHADE * _strength(value, low, high) if known(value) else 0.0
    fill = f'fill="{_colour(value or 0.0)}" fill-opacity="{shade:.2f}"'
    return (
        f'<rect x=".5" y=".5" width="{wide - 1}" height="{tall - 1}" {fill} stroke="currentColor" stroke-opacity=".2"/>'
        f'<text x="{wide / 2:g}" y="{tall / 2 + 4:g}" text-anchor="middle">{_number(value, high)}</text>'
    )


def _sized(value: Value, low: float, high: float, wide: float, tall: float) -> str:
    back = f'<rect width="{wide}" height="{tall}" fill="none" stroke="currentColor" stroke-opacity=".15"/>'
    if not known(value):
        return f'{back}<path d="M5,{tall / 2:g}h{wide - 10}" stroke="currentColor" stroke-opacity=".6"/>'
    side = (wide - 3) * math.sqrt(_strength(value, low, high))
    x, y = (wide - side) / 2, (tall - side) / 2
    look = f'fill="{_colour(value)}"' if value > 0 else f'fill="none" stroke="{_colour(value)}" stroke-width="1.5"'
    return f'{back}<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" {look}/>'
