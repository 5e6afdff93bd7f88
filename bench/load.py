"""Requests over many connections at once, each sent when the one before it is answered; every answer
is timed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import httptools
import uvloop


@dataclass(frozen=True, slots=True)
class Timed:
    """`latencies` in seconds, shortest first; `statuses`: how often each was answered."""

    seconds: float
    latencies: Sequence[float]
    statuses: Counter[int]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


def send(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Timed:
    """Sends what there is, or as much as can be sent in `seconds`, to this port of this machine."""
    return uvloop.run(_send(port, requests, connections, seconds))


async def _send(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Timed:
    run = _Run(iter(requests), perf_counter() + seconds)
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port) for _ in range(connections)
    ]
    began = perf_counter()
    for _, connection in opened:
        connection.send()
    await asyncio.gather(*(connection.done for _, connection in opened))
    took = perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return Timed(took, sorted(run.latencies), run.statuses)


@dataclass
class _Run:
    """What all connections share."""

    requests: Iterator[bytes]
    until: float
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def next(self) -> bytes | None:
        return next(self.requests, None) if perf_counter() < self.until else None


class _Connection(asyncio.Protocol):
    """One request after the other until there are no more."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvloop's way
        self._transport = transport

    def send(self) -> None:
        request = self._run.next()
        if request is None:
            self.done.set_result(None)
            return
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._run.latencies.append(perf_counter() - self._sent_at)
        self._run.statuses[self._parser.get_status_code()] += 1
        # Not from within the parser, which is about to be replaced.
        asyncio.get_running_loop().call_soon(self.send)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))
