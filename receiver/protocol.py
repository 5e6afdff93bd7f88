"""uvicorn's HTTP protocol with an end to everything. With httptools, uvicorn (0.54) limits neither what comes
before and between the bytes of a body nor how long a request may take to arrive."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_FRAME = 64 * 1024  # bytes of a request that are not its body: headers, chunk sizes, trailers
LONGEST_ARRIVAL = 15.0  # seconds; more than a route waits for a body, because that one can say why it stops


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that sends too much besides a body, or nothing complete for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's way
        super().connection_made(transport)
        self._frame = 0
        self._complete = False
        self._deadline: asyncio.TimerHandle | None = None
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._complete = True
        self._watch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._frame += len(data)
        super().data_received(data)
        self._watch()
        if self._frame > LARGEST_FRAME:
            self.send_400_response("There is too much in this request besides its body.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._complete = False

    def on_body(self, body: bytes) -> None:
        self._frame -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._complete = True
        self._frame = 0

    def _watch(self) -> None:
        """A clock runs while a request is on its way; most come in one piece and never start it."""
        if self._complete and self._deadline:
            self._deadline.cancel()
            self._deadline = None
        elif not self._complete and not self._deadline:
            self._deadline = self.loop.call_later(LONGEST_ARRIVAL, self.transport.close)
