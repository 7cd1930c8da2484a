"""What one request may cost."""

from __future__ import annotations

from typing import NamedTuple

MIB = 1 << 20


class Limits(NamedTuple):
    """The most that one request may ask for; above it the answer is an error, not a slow or large process."""

    rows: int = 10_000
    """Of one request (413 above)."""

    body: int = 8 * MIB
    """Bytes as sent (413 above)."""

    unpacked: int = 32 * MIB
    """Bytes after gzip or deflate (413 above)."""

    depth: int = 64
    """Levels of JSON (400 above)."""

    seconds: float = 10.0
    """For the header (408), then for the body (408), then for the answer (503)."""

    waiting: int = 64
    """Requests being read or answered at once (429 above)."""
