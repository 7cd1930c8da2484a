"""reports/report.html: one offline page."""

from __future__ import annotations

from typing import Any


def render_report(evaluation: dict[str, Any], history: dict[str, str], validation: dict[str, Any]) -> str:
    """Return the page."""
    return "<html></html>"
