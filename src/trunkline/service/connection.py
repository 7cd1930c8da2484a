"""One connection: uvicorn's, with a time limit on headers and errors in our form.

Without the limit a client that sends a byte now and then holds its connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
import orjson
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

LINGER = 0.5  # seconds that a client which is silent when the service ends has left to say something


class Connection(H11Protocol):
    """A client's connection.

    Attributes:
        header_seconds: For the header of a request; for the first one from the moment of connecting.
    """

    header_seconds: ClassVar[float] = 10.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first header."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a header that they begin must end in time."""
        if self.patience is None and not self._answering():
            self._wait()
        super().data_received(data)
        if self._answering():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on to the next request, whose header may wait as long as uvicorn lets it."""
        self._stop_waiting()
        super().on_response_complete()

    def shutdown(self) -> None:
        """End after the answer in hand, or after the one to a request that may be on its way."""
        if self._answering():
            super().shutdown()
        else:
            self.loop.call_later(LINGER, self._end)

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "the request is not HTTP/1.1, or its header is longer than 64 KiB")

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self.patience = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _give_up(self) -> None:
        self.patience = None
        if not self.transport.is_closing():
            self._refuse(408, f"the header did not arrive within {self.header_seconds:g} s")

    def _refuse(self, status: int, sentence: str) -> None:
        body = orjson.dumps({"error": sentence})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events = [
            h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status]),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()
