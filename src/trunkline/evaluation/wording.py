"""Scores, differences and verdicts as a person reads them, and what each metric is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from trunkline.tasks import KINDS

MISSING = "n/a"


def metric_words(kinds: Iterable[str]) -> dict[str, str]:
    """Return what each metric of some kinds of task is, for the reader of a report."""
    wanted = set(kinds)
    used = [KINDS[kind].metrics for kind in KINDS if kind in wanted]
    names = dict.fromkeys(metric for metrics in used for metric in metrics)
    said = {name: dict.fromkeys(metrics[name].says for metrics in used if name in metrics) for name in names}
    return {name: "; ".join(sentences) for name, sentences in said.items()}


METRICS = metric_words(KINDS)
"""What each metric is."""


class Sign(NamedTuple):
    """A mark and a word, so that nothing rests on colour; `tone` names the colour."""

    mark: str
    word: str
    tone: str


VERDICTS = {
    "helped": Sign("▲", "helped", "better"),
    "hurt": Sign("▼", "hurt", "worse"),
    "equivalent": Sign("=", "equivalent", "level"),
    "inconclusive": Sign("?", "inconclusive", "open"),
}


def known(value: float | None) -> TypeGuard[float]:
    """Return True for a number that can be shown; a metric that does not exist is None in JSON, else NaN."""
    return value is not None and math.isfinite(value)


def score(value: float | None) -> str:
    """Return a score to four decimals, a large one to fewer.

    Example:
        >>> score(0.83612), score(23.5408), score(12345.6), score(None)
        ('0.8361', '23.54', '12,346', 'n/a')
    """
    if not known(value):
        return MISSING
    decimals = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
    return _minus(f"{round(value, decimals) or 0.0:,.{decimals}f}")


def signed(value: float | None) -> str:
    """Return a difference with its sign, to two digits that count.

    Example:
        >>> signed(0.00446287), signed(-12.3), signed(0.0), signed(2e-9), signed(math.nan)
        ('+0.0045', '−12', '0', '+2.0e-09', 'n/a')
    """
    if not known(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = 1 - int(f"{value:.1e}".partition("e")[2])
    return _minus(f"{value:+.1e}" if decimals > 7 else f"{value:+,.{max(decimals, 0)}f}")


def percent(value: float | None) -> str:
    r"""Return a difference in percent with its sign.

    Example:
        >>> percent(0.5366), percent(-14.56), percent(None)
        ('+0.54\xa0%', '−14.56\xa0%', 'n/a')
    """
    if not known(value):
        return MISSING
    return _minus(f"{value:+,.2f}\u00a0%")


def base_rate(prevalence: float | Sequence[float] | None) -> str:
    r"""Return what a guess without inputs knows: the share of yes, or of the commonest class.

    Example:
        >>> base_rate(0.028055), base_rate([0.2, 0.5, 0.3]), base_rate(None)
        ('2.8\xa0%', '50\xa0%, commonest of 3', '–')
    """
    if prevalence is None:
        return "–"
    if isinstance(prevalence, int | float):
        return f"{100 * prevalence:.2g}\u00a0%" if prevalence < 0.995 else f"{100 * prevalence:.4g}\u00a0%"
    return f"{base_rate(max(prevalence))}, commonest of {len(prevalence)}"


def count(rows: int | None) -> str:
    """Return a number of rows.

    Example:
        >>> count(224878), count(None)
        ('224,878', 'n/a')
    """
    return MISSING if rows is None else f"{rows:,}"


def share(value: float | None) -> str:
    r"""Return a share of rows in percent.

    Example:
        >>> share(0.9012), share(1.0), share(None)
        ('90.1\xa0%', '100.0\xa0%', 'n/a')
    """
    return f"{100 * value:.1f}\u00a0%" if known(value) else MISSING


def small(value: float | None) -> str:
    """Return a size without a sign, to two digits that count.

    Example:
        >>> small(0.00250), small(12.3)
        ('0.0025', '12')
    """
    return signed(value).removeprefix("+")


def tendency(gain: float | None) -> Sign:
    """Say which side has the better score; whether that is more than chance is the verdict's business."""
    if not known(gain):
        return Sign("", "not comparable", "open")
    if gain == 0:
        return Sign("=", "same", "level")
    return Sign("▲", "better", "better") if gain > 0 else Sign("▼", "worse", "worse")


def interval(ends: Sequence[float | None] | None, shown: Callable[[float | None], str] = score) -> str:
    """Return an interval as "low to high"; nothing where there is none.

    Example:
        >>> interval([0.81234, 0.84]), interval([-0.001, 0.002], signed), interval(None)
        ('0.8123 to 0.8400', '−0.0010 to +0.0020', '')
    """
    if not ends or not all(map(known, ends)):
        return ""
    return f"{shown(ends[0])} to {shown(ends[1])}"


def p_value(value: float | None) -> str:
    r"""Return a p value.

    Example:
        >>> p_value(0.0312), p_value(0.00001), p_value(None)
        ('p\xa0=\xa00.031', 'p\xa0<\xa00.001', '')
    """
    if not known(value):
        return ""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.2g}"


def broken_gate(gate: Mapping[str, Any]) -> str:
    """Say which gate failed: what stands at the unfavourable end of its interval, against the limit.

    Example:
        >>> broken_gate({"task": "cancelled", "rule": "max_regret", "limit": 0.01, "value": 0.008, "bound": 0.0123})
        'cancelled max_regret 0.0123 > 0.01'
    """
    bound, limit = gate.get("bound"), gate["limit"]
    by = f" by {gate['column']}" if gate.get("column") else ""
    rule = f"{gate['task']} {gate['rule']}{by}"
    if not known(bound):
        return f"{rule}: no interval to hold against {limit:g}"
    sides = (f"{bound:.{digits}g}" for digits in range(3, 17))
    found = next((text for text in sides if float(text) != limit), f"{bound!r}")
    return f"{rule} {found} {'>' if bound > limit else '<'} {limit:g}"


def _minus(text: str) -> str:
    """Return a number with the typographic minus sign; the sign of an exponent stays."""
    mantissa, exponent, power = text.partition("e")
    return mantissa.replace("-", "−") + exponent + power
