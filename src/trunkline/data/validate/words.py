"""Numbers, moments and counts as a person reads them in a message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def number(value: float) -> str:
    """Return a number without needless digits.

    Example:
        >>> number(1048.36058), number(150.0), number(20130101123456), number(1e300)
        ('1048.36058', '150', '20130101123456', '1e+300')
    """
    whole = math.isfinite(value) and value == int(value) and abs(value) < 2**63
    return str(int(value)) if whole else f"{value:.10g}"


def short(value: float) -> str:
    """Return a number to four digits, for a range that was measured.

    Example:
        >>> short(0.0123456), short(-17.06), short(76320.0), short(6119.7)
        ('0.01235', '-17.06', '76320', '6120')
    """
    if not math.isfinite(value):
        return "nothing" if math.isnan(value) else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def measured(low: float, high: float) -> str:
    """Return a range that was measured.

    Example:
        >>> measured(0.0, 1048.36058), measured(3.0, 3.0)
        ('0 to 1048', '3')
    """
    return short(low) if low == high else f"{short(low)} to {short(high)}"


def percent(share: float) -> str:
    """Return a share of 1 in percent.

    Example:
        >>> percent(0.3006), percent(1.0), percent(0.0), percent(0.00042), percent(0.99996)
        ('30.1 %', '100 %', '0 %', '0.042 %', '99.996 %')
    """
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    if share < 0.001:
        return f"{100 * share:.2g} %"
    return f"{100 * share:.3f} %" if share > 0.999 else f"{100 * share:.1f} %"


def shares(low: float, high: float) -> str:
    """Return a range of shares.

    Example:
        >>> shares(0.0, 0.131), shares(1.0, 1.0)
        ('0 % to 13.1 %', '100 %')
    """
    return percent(low) if low == high else f"{percent(low)} to {percent(high)}"


def count(rows: int, of: int | None = None) -> str:
    """Return a number of rows, with their share of `of`.

    Example:
        >>> count(8610, 28135), count(1)
        ('8,610 of 28,135 rows (30.6 %)', '1 row')
    """
    if of is None:
        return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"
    return f"{rows:,} of {of:,} rows ({percent(rows / of if of else 0.0)})"


def value(found: Any) -> str:
    r"""Return one cell: a moment in ISO form, a number without needless digits, a text as it is.

    Example:
        >>> value(None), value(float("nan")), value(3.0), value("EWR"), value(True), value("\x1b[2J")
        ('missing', 'missing', '3', 'EWR', 'true', "'\\x1b[2J'")
    """
    if found is None or found != found:
        return "missing"
    if isinstance(found, bool):
        return str(found).lower()
    if hasattr(found, "isoformat"):
        return str(found.isoformat()).replace("+00:00", "Z")
    if isinstance(found, str):
        shown = found if found.isprintable() else ascii(found)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."
    return number(found)


def listed(words: Iterable[str], most: int = 8) -> str:
    """Return words with commas, and how many were left out.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    words = list(words)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def span(low: float | None, high: float | None) -> str:
    """Return a range in words.

    Example:
        >>> span(0, 150), span(1, None), span(None, 9)
        ('0 to 150', 'at least 1', 'at most 9')
    """
    if low is None or high is None:
        return f"at least {number(low)}" if low is not None else f"at most {number(high or 0.0)}"
    return f"{number(low)} to {number(high)}"


def observation(found: Any) -> str:
    """Return what an expectation about a whole column measured: a number, a text, several of them, or nothing.

    Example:
        >>> observation(12.0), observation({"values": [1.5, 2.5]}), observation(None)
        ('12', '1.5, 2.5', 'nothing')
    """
    if isinstance(found, dict):
        found = found.get("values", list(found.values()))
    if isinstance(found, list | tuple):
        return listed([value(part) for part in found])
    return "nothing" if found is None else value(found)
