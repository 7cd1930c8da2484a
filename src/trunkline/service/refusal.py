"""What a request gets instead of an answer."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request that cannot be answered: `str(refusal)` is the sentence, `status` the HTTP status.

    Args:
        status: 4xx where the request must change, 503 where it may come again as it is.
        message: Where, what was found, what was expected.
        headers: Sent along, such as Retry-After.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
