"""Values of a person's data as they are shown: short, on one line."""

from __future__ import annotations

LONGEST = 24


def shown(text: str) -> str:
    r"""Return text without signs that cannot be shown, cut where it is long.

    Example:
        >>> shown("a\nb")
        'a b'
    """
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 2]}.."


def figure(value: float) -> str:
    """Return a number to four digits.

    Example:
        >>> figure(53940.0), figure(0.79794)
        ('53940', '0.7979')
    """
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share in percent.

    Example:
        >>> percent(0.2041), percent(0.0004)
        ('20 %', '0.04 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.2g} %"
