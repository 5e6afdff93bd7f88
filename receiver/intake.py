"""Group commit: deliveries that come together share one inbox transaction and one queue message.

Two threads. The writer owns the store: a request waits for it, for a short while. The pusher owns the queue:
nobody waits for it, so a slow or missing Redis costs no acknowledgement.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import dramatiq
import structlog

from receiver.metrics import Metrics
from workers.messages import ProjectDeliveries, publish
from workers.store import inbox
from workers.store.inbox import Arrival, Recorded, Store
from workers.store.watermark import Watermark

log = structlog.get_logger(__name__)

LARGEST_BATCH = 200  # rows a transaction; more gains nothing and keeps the first of them waiting
LARGEST_MESSAGE = 100  # rows a message; whoever takes it handles them in one transaction too
UNANNOUNCED = 10_000  # ids kept while the queue is slow
TIDY_EVERY = 10.0  # seconds between writing down how many requests were turned away, and looking back
FINISH_WRITING = 3.0  # seconds, after the last request has ended; a stop shall take ten in all
FINISH_PUSHING = 2.0


@dataclass(frozen=True, slots=True)
class NotStored:
    """Nothing is known to be stored, so the sender has to come again.

    It may still get stored after this was said. That is harmless: the next attempt is then a duplicate.
    """

    reason: str


FULL = NotStored("intake_full")
SLOW = NotStored("store_slow")
FAILED = NotStored("store_failed")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for the writer. Without an arrival it only asks whether one could be stored."""

    arrival: Arrival | None
    answer: asyncio.Future[Recorded | NotStored | None]


class Intake:
    """Stores arrivals durably and announces them.

    `room`: how many may wait for the writer; `patience`: how long each does.
    """

    def __init__(
        self,
        store: Store,
        broker: dramatiq.Broker,
        clock: Callable[[], datetime],
        metrics: Metrics,
        *,
        room: int,
        patience: timedelta,
    ) -> None:
        self._store = store
        self._watermark = Watermark(store)
        self._clock = clock
        self._metrics = metrics
        self._room = room
        self._patience = patience.total_seconds()
        self._waiting: deque[Waiting] = deque()
        self._turned_away: Counter[tuple[datetime, str]] = Counter()
        self._stopping = False
        self._wake = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="inbox-writer", daemon=True)
        self._pusher = Pusher(broker, metrics)
        metrics.waiting.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        """Call on the event loop whose requests will wait."""
        self._loop = asyncio.get_running_loop()
        self._pusher.start()
        self._writer.start()

    async def stop(self) -> None:
        """Writes what was accepted and announces it; gives up on a database or a queue that hangs."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._writer.join, FINISH_WRITING)
        await asyncio.to_thread(self._pusher.stop, FINISH_PUSHING)

    async def store(self, arrival: Arrival) -> Recorded | NotStored:
        """Waits until the arrival is durable, or for `patience`."""
        answer = await self._ask(arrival)
        assert answer is not None
        return answer

    async def check(self) -> NotStored | None:
        """None if an arrival could be stored now: this goes the same way, up to the writing."""
        answer = await self._ask(None)
        assert not isinstance(answer, Recorded)
        return answer

    def count_turned_away(self, reason: str) -> None:
        """Remembers a request that was not let in; written down every few seconds."""
        self._metrics.rejections.labels(reason).inc()
        minute = self._clock().replace(second=0, microsecond=0)
        with self._wake:
            self._turned_away[minute, reason] += 1

    async def _ask(self, arrival: Arrival | None) -> Recorded | NotStored | None:
        answer: asyncio.Future[Recorded | NotStored | None] = self._loop.create_future()
        with self._wake:
            if self._stopping or len(self._waiting) >= self._room:
                return FULL
            self._waiting.append(Waiting(arrival, answer))
            self._wake.notify()
        try:
            async with asyncio.timeout(self._patience):
                return await answer
        except TimeoutError:
            return SLOW

    # --- the writer's thread -----------------------------------------------------------------------------

    def _write(self) -> None:
        tidy_at = time.monotonic() + TIDY_EVERY
        while (batch := self._next_batch()) or not self._stopping:
            if batch:
                self._settle(batch)
            if time.monotonic() >= tidy_at:
                self._write_down_turned_away()
                self._look_back()
                tidy_at = time.monotonic() + TIDY_EVERY
        self._write_down_turned_away()

    def _next_batch(self) -> list[Waiting]:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._stopping, timeout=TIDY_EVERY)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]

    def _settle(self, batch: Sequence[Waiting]) -> None:
        answers = self._commit(batch)
        self._pusher.push([answer.id for answer in answers if isinstance(answer, Recorded) and answer.waits])
        with suppress(RuntimeError):  # the loop has ended: a stop that could not wait any longer
            self._loop.call_soon_threadsafe(_tell, batch, answers)

    def _commit(self, batch: Sequence[Waiting]) -> Sequence[Recorded | NotStored | None]:
        arrivals = [waiting.arrival for waiting in batch if waiting.arrival]
        try:
            if len(arrivals) < len(batch):
                inbox.check(self._store)
            recorded = iter(self._record(arrivals) if arrivals else [])
        except Exception as error:  # noqa: BLE001 - whatever it is, senders come again and the writer lives on
            log.error("inbox_not_written", error=type(error).__name__, rows=len(arrivals))
            return [FAILED] * len(batch)
        return [next(recorded) if waiting.arrival else None for waiting in batch]

    def _record(self, arrivals: Sequence[Arrival]) -> Sequence[Recorded]:
        recorded = inbox.commit(self._store, arrivals, self._clock())
        self._metrics.batch_rows.observe(len(arrivals))
        return recorded

    def _write_down_turned_away(self) -> None:
        with self._wake:
            counts, self._turned_away = self._turned_away, Counter()
        try:
            inbox.commit_rejections(self._store, counts, self._clock())
        except Exception as error:  # noqa: BLE001 - as above; the counts wait for the next time
            log.error("rejections_not_written", error=type(error).__name__)
            with self._wake:
                self._turned_away += counts

    def _look_back(self) -> None:
        try:
            self._watermark.check()
        except Exception as error:  # noqa: BLE001 - as above; the next look counts
            log.error("store_not_looked_at", error=type(error).__name__)


def _tell(batch: Sequence[Waiting], answers: Sequence[Recorded | NotStored | None]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if not waiting.answer.done():  # its request may have lost patience
            waiting.answer.set_result(answer)


class Pusher:
    """Announces rows on the queue from a thread of its own, several in a message when they come fast.

    An id that finds no room, or whose message fails, is dropped: the sweep finds every row nobody finished.
    """

    def __init__(self, broker: dramatiq.Broker, metrics: Metrics) -> None:
        self._broker = broker
        self._dropped = metrics.pushes_dropped
        self._ids: deque[int] = deque()
        self._stopping = False
        self._reachable = True
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="queue-pusher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Announces what is left, for at most `seconds`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(seconds)

    def push(self, ids: Sequence[int]) -> None:
        """Never waits for the queue."""
        with self._wake:
            room = UNANNOUNCED - len(self._ids)
            self._ids.extend(ids[:room])
            self._wake.notify()
        self._dropped.inc(len(ids[room:]))

    def _run(self) -> None:
        while ids := self._next():
            try:
                publish(self._broker, ProjectDeliveries(ids))
            except Exception as error:  # noqa: BLE001 - the rows are safe, and the next message may get through
                self._dropped.inc(len(ids))
                self._note(reachable=False, error=type(error).__name__)
            else:
                self._note(reachable=True)

    def _next(self) -> list[int]:
        with self._wake:
            self._wake.wait_for(lambda: self._ids or self._stopping)
            return [self._ids.popleft() for _ in range(min(len(self._ids), LARGEST_MESSAGE))]

    def _note(self, *, reachable: bool, **details: str) -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            log.warning("queue_reachable" if reachable else "queue_unreachable", **details)
