"""Live updates: one collector looks at what is watched, each open tab is told which topics changed.

Nothing but names of topics goes over a stream; the tab then asks for the regions it shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from receiver.dashboard.desk import Desk
from receiver.dashboard.page import Mark
from workers.store.database import TROUBLE

log = logging.getLogger(__name__)

STREAMS_A_SESSION = 6
TOPICS_A_STREAM = 8
DEBOUNCE_SECONDS = 0.25
KEEPALIVE_SECONDS = 15.0  # proxies close what is silent for longer, commonly after 30 or 60 s
RECHECK_SECONDS = 60.0  # how long a stream may outlive its session

SIGNED_OUT = "event: signed-out\ndata:\n\n"


@dataclass(eq=False)
class Stream:
    """One open tab. `pending` holds each topic once, so a slow reader costs no more than a fast one."""

    session: str
    topics: frozenset[str]
    pending: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_new: bool = True
    is_open: bool = True

    def signal(self, topics: Iterable[str]) -> None:
        self.pending |= set(topics)
        if self.pending:
            self.wake.set()

    def close(self) -> None:
        self.is_open = False
        self.wake.set()


class Hub:
    """The streams of this process, and the task that feeds them. Lives on one event loop."""

    def __init__(self, desk: Desk, marks: Mapping[str, Mark]) -> None:
        self._desk = desk
        self._marks = marks
        self._streams: set[Stream] = set()
        self._watched = asyncio.Event()
        self._stopped = False
        self._serial = 0

    def open(self, session: str, topics: Iterable[str]) -> Stream | None:
        """None: this session or this process has as many as it may."""
        known = frozenset(topic for topic in topics if topic.partition(":")[0] in self._marks)
        of_session = sum(stream.session == session for stream in self._streams)
        full = len(self._streams) >= self._desk.settings.dashboard_streams
        if self._stopped or full or of_session >= STREAMS_A_SESSION or len(known) > TOPICS_A_STREAM:
            return None
        stream = Stream(session, known)
        self._streams.add(stream)
        self._watched.set()
        return stream

    def close(self, session: str) -> None:
        """Ends what is open for a session, which has just ended itself."""
        for stream in self._streams:
            if stream.session == session:
                stream.close()

    def stop(self) -> None:
        """Ends every stream, now and later. uvicorn waits for open answers; these would never end."""
        self._stopped = True
        for stream in self._streams:
            stream.close()

    async def messages(self, stream: Stream, still_valid: Callable[[], bool]) -> AsyncIterator[str]:
        """What goes over the wire, until the tab or the session is closed. `still_valid` may block."""
        clock = asyncio.get_running_loop().time
        recheck_at = clock() + RECHECK_SECONDS
        try:
            yield "retry: 3000\n\n"
            while stream.is_open:
                if clock() >= recheck_at:
                    if not await run_in_threadpool(still_valid):
                        break
                    recheck_at = clock() + RECHECK_SECONDS
                yield await self._next(stream)
            if not self._stopped:
                yield SIGNED_OUT
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._watched.clear()

    async def collect(self) -> None:
        """Looks at what is watched, as often as the settings say, for as long as somebody watches."""
        seen: dict[str, object] = {}
        while True:
            await self._watched.wait()
            await asyncio.sleep(self._desk.settings.dashboard_refresh_seconds)
            watched = frozenset().union(*(stream.topics for stream in self._streams))
            try:
                marks = await run_in_threadpool(self._look_at, watched)
            except TROUBLE:
                log.warning("the store does not answer; nothing is live", exc_info=True)
                continue
            changed = {topic for topic, mark in marks.items() if seen.get(topic, mark) != mark}
            seen = marks
            for stream in self._streams:
                # What happened between its page and now nobody told a new stream.
                stream.signal(stream.topics if stream.is_new else changed & stream.topics)
                stream.is_new = False

    def _look_at(self, topics: Iterable[str]) -> dict[str, object]:
        marks = {}
        for topic in topics:
            name, _, key = topic.partition(":")
            marks[topic] = self._marks[name](self._desk, key)
        return marks

    async def _next(self, stream: Stream) -> str:
        try:
            await asyncio.wait_for(stream.wake.wait(), KEEPALIVE_SECONDS)
        except TimeoutError:
            return ": keepalive\n\n"
        if stream.is_open:
            await asyncio.sleep(DEBOUNCE_SECONDS)
        stream.wake.clear()
        if not stream.is_open:
            return ""
        topics, stream.pending = sorted(stream.pending), set()
        self._serial += 1
        return "".join(f"event: live:{topic}\nid: {self._serial}\ndata:\n\n" for topic in topics)
